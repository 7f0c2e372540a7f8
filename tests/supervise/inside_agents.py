"""What runs in the workers of `test_agents`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import fcntl
import os
from typing import Any

from aiocluster import current_worker


async def ask_the_counter_when_told() -> None:
    worker = current_worker()

    async def forward(name: Any, sender: int) -> Any:
        return await worker.request_to(name, "next")

    worker.handle_requests(forward)
    await asyncio.Event().wait()


async def broadcast_when_told() -> None:
    worker = current_worker()

    async def tell(message: Any, sender: int) -> list[int]:
        await worker.broadcast(message)
        await worker.send_random(message)
        return list(worker.peers)

    worker.handle_requests(tell)
    worker.on("message", lambda event: worker.send([worker.name, event.message]))
    await asyncio.Event().wait()


async def hold(path: str) -> None:
    """Fails if another process holds the file; says how often it was held; ends a little late."""
    with open(path, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write("held\n")
        file.flush()
        try:
            crashing = asyncio.Event()
            current_worker().on("message", lambda event: crashing.set())
            await crashing.wait()
            raise LookupError("crashed as told")
        finally:
            await asyncio.sleep(0.2)


async def hold_file() -> None:
    await hold(os.environ["FILE_OF_TEST"])
