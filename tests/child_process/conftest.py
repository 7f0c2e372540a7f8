"""Child processes, on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import randrange

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Function
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def minute() -> str:
    """A minute that no other process sleeps: whose command line has it can be found."""
    return f"60.{randrange(10**9):09}"
