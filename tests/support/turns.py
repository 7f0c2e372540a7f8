"""Waiting for what the event loop has to do already."""

from __future__ import annotations

import asyncio


async def turns(count: int = 3) -> None:
    """Returns after so many turns of the event loop; what was due by then has happened."""
    for _ in range(count):
        await asyncio.sleep(0)
