"""Workers with nothing to do. This module imports what they need and nothing else: it is part of what is measured."""

from __future__ import annotations

import asyncio


async def wait() -> None:
    await asyncio.Event().wait()


async def listen() -> None:
    """Port 0 is the same port for all of them."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    await server.serve_forever()
