"""What runs in the workers of `test_starts`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import sys


async def stay() -> None:
    await asyncio.Event().wait()


def return_at_once() -> None:
    pass


def exit_with(code: str) -> None:
    sys.exit(int(code))
