"""What runs in the workers of `test_failed_starts`, who import no more than this when they start."""

from __future__ import annotations

import asyncio


async def stay(*args: str) -> None:
    await asyncio.Event().wait()


async def leave_at_once() -> None:
    pass
