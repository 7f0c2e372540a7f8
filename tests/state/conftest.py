"""The state. What tests the contract runs with each engine and on both loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiocluster._state.state import State
from tests.support.redis import RedisServer

from .engines import ENGINES, URLS, Connect, in_redis


@pytest.fixture(params=[*sorted(ENGINES), "redis"])
async def connect(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Connect]:
    """Makes clients of an engine that is empty."""
    is_redis = request.param == "redis"
    engine = in_redis(request.getfixturevalue("redis_server").url) if is_redis else ENGINES[request.param](tmp_path)
    async with engine as connect:
        yield connect


@pytest.fixture
async def state(connect: Connect) -> State:
    """The state of an engine that is empty, as a client has it."""
    return State._create(connect())


@pytest.fixture
async def other(connect: Connect, state: State) -> State:
    """The same as another client has it."""
    return State._create(connect())


@pytest.fixture(params=[*sorted(URLS), "redis"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What a cluster is given as its state."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return server.url
    return URLS[request.param](tmp_path)
