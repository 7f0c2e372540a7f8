"""What runs in the workers of `test_reload`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import os

from aiocluster import current_worker

from .inside_cluster import serve


async def tell_colour() -> None:
    await current_worker().send(os.environ.get("COLOUR_OF_TEST"))
    await asyncio.Event().wait()


async def idle() -> None:
    await asyncio.Event().wait()


async def broken_if_told() -> None:
    if "BROKEN_OF_TEST" in os.environ:
        raise LookupError("broken as told")
    await serve()
