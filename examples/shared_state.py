"""What all workers have to know is kept in one place outside; one process watches it, and tells them.

Seeds 000 and 002: memory is not shared, so a login that one worker has seen is unknown to the others. It is kept by a
third party, and rather than that each worker asks for it again and again, one process does, and notifies the others.
The third party is a file here, and would be a database otherwise. The process that watches it is the agent
``watcher``: there is one, whatever the number of workers. A worker that starts later asks it for what it has missed.
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
INTERVAL = 0.05  # seconds between two looks


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
    """The worker: its copy is always there, and is never asked for over the network."""
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
            """What a worker would do at a login: writes it where everybody finds it, all at once or not at all."""
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
