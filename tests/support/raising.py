"""What a user's function may raise, whatever it is: nothing of it may reach the event loop."""

from __future__ import annotations

import asyncio
import sys
from typing import Any


class OddError(BaseException):
    """No `Exception`."""


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise OddError


TYPES: dict[str, str] = {
    "ValueError": "builtins.ValueError",
    "StopAsyncIteration": "builtins.StopAsyncIteration",
    "GeneratorExit": "builtins.GeneratorExit",
    "KeyboardInterrupt": "builtins.KeyboardInterrupt",
    "SystemExit": "builtins.SystemExit",
    "sys.exit": "builtins.SystemExit",
    "CancelledError": "asyncio.exceptions.CancelledError",
    "of a cancelled future": "asyncio.exceptions.CancelledError",
    "OddError": f"{__name__}.OddError",
    "UnprintableError": f"{__name__}.UnprintableError",
}
"""What `raise_one` can raise, and the full name of its type."""


def raise_one(what: str) -> Any:
    """Raises the exception of that name."""
    if what == "sys.exit":
        sys.exit(3)
    if what == "of a cancelled future":
        loop = asyncio.new_event_loop()
        try:
            future = loop.create_future()
            future.cancel()
            return future.result()
        finally:
            loop.close()
    kinds: dict[str, type[BaseException]] = {
        "ValueError": ValueError,
        "StopAsyncIteration": StopAsyncIteration,
        "GeneratorExit": GeneratorExit,
        "KeyboardInterrupt": KeyboardInterrupt,
        "SystemExit": SystemExit,
        "CancelledError": asyncio.CancelledError,
        "OddError": OddError,
        "UnprintableError": UnprintableError,
    }
    raise kinds[what]()


async def raise_one_later(what: str) -> Any:
    """Raises it in a later turn of the loop."""
    await asyncio.sleep(0)
    raise_one(what)
