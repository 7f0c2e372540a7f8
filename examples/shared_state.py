"""State that all workers need is stored in one place. One process watches it and tells the others.

Seeds 000 and 002: workers share no memory, so one worker does not know about a login in another. A third party stores
the logins. Not every worker polls it: one process does, and notifies the others. In this example the third party is a
file. In a real program it would be a database. The agent ``watcher`` watches it, and there is only one agent for any
number of workers. A worker that starts later asks the agent for the current state.
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
