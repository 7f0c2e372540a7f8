"""A client may make so many requests in a minute, whichever workers they reach.

The workers count in the cluster's state: ``incr`` makes the counter with its time to live, and all of them count on.
With ``AIOCLUSTER_STATE=redis://…`` the workers of several machines do.
"""

import asyncio
import itertools
from typing import Any

from aiocluster import Cluster, current_worker

WORKERS = 3
LIMIT = 5
PERIOD = 60.0  # seconds, from a client's first request


async def is_allowed(client: str) -> bool:
    return await current_worker().state.incr(f"requests:{client}", ttl=PERIOD) <= LIMIT


async def serve() -> None:
    """The worker. In a real program a web framework would call `is_allowed`."""
    worker = current_worker()

    async def answer(client: Any, sender: int) -> str:
        return "200 OK" if await is_allowed(client) else "429 Too Many Requests"

    worker.handle_requests(answer)
    await asyncio.get_running_loop().create_future()


async def main() -> None:
    async with Cluster(serve, workers=WORKERS) as cluster:
        workers = itertools.cycle(cluster.workers.values())
        for client, count in (("alice", 7), ("bob", 2)):
            for number in range(1, count + 1):
                worker = next(workers)
                print(f"{client}'s request {number}, in slot {worker.slot}: {await worker.request(client)}")


if __name__ == "__main__":
    asyncio.run(main())
