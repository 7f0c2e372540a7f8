"""A rate limit over all workers.

A client may make five requests in a minute, whichever workers they reach. The workers count in the cluster's state:
``incr`` makes a counter with a time to live. With ``AIOCLUSTER_STATE=redis://…`` the workers of several machines count
together.

    $ python rate_limit.py
    alice's request 1, in slot 0: 200 OK
    alice's request 2, in slot 1: 200 OK
    …
    alice's request 6, in slot 2: 429 Too Many Requests
    alice's request 7, in slot 0: 429 Too Many Requests
    bob's request 1, in slot 1: 200 OK
    bob's request 2, in slot 2: 200 OK
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
