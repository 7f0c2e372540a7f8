"""What runs in the workers of `test_status`."""

from __future__ import annotations

import asyncio

from aiocluster import current_worker

from .inside_cluster import answer


async def first_two_listen_when_told() -> None:
    """The first two workers listen when they are sent a message, and later ones at once."""
    worker = current_worker()
    if worker.id <= 2:
        await worker.wait_for("message")
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


async def fail_when_told() -> None:
    """Serves until it is sent a message."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await current_worker().wait_for("message")
    server.close()
    raise LookupError("failed as told")


async def wait() -> None:
    """Opens no port."""
    await asyncio.sleep(3600)
