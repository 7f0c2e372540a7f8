"""One process watches, all workers know.

Workers share no memory, so one worker does not see what another has stored. Here a file has who is logged in. A single
agent watches the file and tells all workers. A worker that starts later asks the agent. So the file is read by one
process, not by each. The cluster's own state (``mirror``) does the same with less code: see `sessions.py`.

    $ python shared_state.py
    logged in: ['alice'], known to workers [1, 2, 3]
    logged in: ['alice', 'bob'], known to workers [1, 2, 3]
"""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from aiocluster import Cluster, current_worker
from aiocluster.events import Message

WORKERS = 3
INTERVAL = 0.05  # seconds between two checks


async def watch() -> None:
    """The agent."""
    agent = current_worker()
    agent.handle_requests(lambda question, sender: known)
    known: Any = None
    while True:
        state = json.loads(Path(os.environ["STATE"]).read_text())
        if state != known:
            known = state
            await agent.broadcast(state)
        await asyncio.sleep(INTERVAL)


async def serve() -> None:
    """The worker: it has its own copy, so it never has to ask over the network."""
    worker = current_worker()

    async def learn(state: Any) -> None:
        await worker.send({"worker": worker.id, "logged in": state})

    async def hear(event: Message) -> None:
        await learn(event.message)

    worker.on("message", hear)
    await learn(await worker.request_to("watcher", "what have I missed?"))
    await asyncio.get_running_loop().create_future()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "state.json"

        def keep(logged_in: list[str]) -> None:
            """What a worker would do at a login: it writes the file atomically."""
            new = store.with_suffix(".new")
            new.write_text(json.dumps(logged_in))
            new.replace(store)

        keep([])
        cluster = Cluster(serve, workers=WORKERS, agents={"watcher": watch}, env={"STATE": str(store)})
        async with cluster.events("message") as heard, cluster:
            for logged_in in (["alice"], ["alice", "bob"]):
                keep(logged_in)
                knowing: set[int] = set()
                while len(knowing) < WORKERS:
                    message = (await anext(heard)).message
                    if message["logged in"] == logged_in:
                        knowing.add(message["worker"])
                print(f"logged in: {logged_in}, known to workers {sorted(knowing)}")


if __name__ == "__main__":
    asyncio.run(main())
