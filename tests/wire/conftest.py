"""Every async test of the wire runs on both event loops."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

import hypothesis

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

LOOPS: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:  # not made for this interpreter
    pass
else:
    LOOPS["uvloop"] = uvloop.new_event_loop
    uvloop.new_event_loop().close()  # the first one opens a pipe that stays (libuv's, for signals): no test's leak

hypothesis.settings.register_profile("quick", max_examples=60, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=5000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_asyncio_loop_factories() -> Mapping[str, LoopFactory]:
    return LOOPS
