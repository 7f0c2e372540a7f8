"""What runs in the workers of `test_deadline`."""

from __future__ import annotations

import asyncio

from aiocluster import current_worker


async def does_not_leave() -> None:
    """Says that it runs; leaves of its own accord when it hears something, or tries to."""
    worker = current_worker()
    worker.on("message", lambda event: worker.disconnect(timeout=event.message))
    await worker.send("running")
    while True:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            pass
