"""What every test is held to: nothing is left behind. And which event loops it runs on."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import wraps
from glob import glob
from pathlib import Path
from typing import Any
from zlib import crc32

import hypothesis
import psutil
import pytest
import uvloop

from tests.support.redis import RedisServer, started

BOTH: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

# An example may take as long as a busy machine needs.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# Hundreds of interpreters are started. They have the modules' bytecode, as those of an installed package have: without
# it each of them compiles its modules, which is most of what it does. pytest-xdist starts its own after this, too.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell's background job is started with SIGINT ignored, and so would all that it starts; some tests interrupt theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test sees the clusters of the user who runs it, nor leaves any there. A socket's path may have 107 bytes.
_FILES_OF_CLUSTERS = tempfile.TemporaryDirectory(prefix="aiocluster-test-")
os.environ["XDG_RUNTIME_DIR"] = os.environ["XDG_STATE_HOME"] = _FILES_OF_CLUSTERS.name

uvloop.new_event_loop().close()  # libuv opens a pipe for signals with its first loop, and keeps it


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Function
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What tests the primary runs on both loops; what tests workers has the workers on both instead."""
    module = item.module.__name__
    if "worker_loop" in item.fixturenames:
        return {"asyncio": asyncio.new_event_loop}
    if any("loop_factories" in mark.kwargs for mark in item.iter_markers("asyncio")):
        return BOTH  # of which the test takes its own
    if module.startswith("tests.primary.") or "AIOCLUSTER_TEST_BOTH_LOOPS" in os.environ:
        return BOTH
    if module.startswith("tests.supervise."):  # long ones: each on one of the two, always the same
        name = sorted(BOTH)[crc32(item.nodeid.encode()) % 2]
        return {name: BOTH[name]}
    return {"asyncio": asyncio.new_event_loop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ends an async test that hangs a little before pytest-timeout does, whose signal uvloop does not hear."""
    usual = float(config.getoption("timeout") or config.getini("timeout"))
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            mark = item.get_closest_marker("timeout")
            item.obj = _bounded(item.obj, 0.8 * (float(mark.args[0]) if mark else usual))


def _bounded(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    @wraps(test)
    async def bounded(*args: Any, **fixtures: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **fixtures)

    return bounded


@pytest.fixture(params=["asyncio", "uvloop"])
def worker_loop(request: pytest.FixtureRequest) -> str:
    """What a worker's async target runs on."""
    loop: str = request.param
    return loop


_OF_THE_SESSION: set[int] = set()  # processes that stay until all tests are done


@pytest.fixture(scope="session")
def _redis() -> Iterator[RedisServer]:
    with started() as server:
        _OF_THE_SESSION.add(server.pid)
        yield server


@pytest.fixture
def redis_server(_redis: RedisServer) -> RedisServer:
    """An empty Redis, the same for all tests of this process: they may not stop it."""
    _redis.ask("FLUSHALL")
    return _redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test alone."""
    with started() as server:
        yield server


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # what listdir itself had open
            pass
    return found


def _descendants() -> set[int]:
    """The processes below this one. Kernels that list children save psutil's look at every process that there is."""
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return {child.pid for child in psutil.Process().children(recursive=True)}
    found: set[int] = set()
    pending = [os.getpid()]
    while pending:
        for children in glob(f"/proc/{pending.pop()}/task/*/children"):
            try:
                pids = {int(pid) for pid in Path(children).read_text().split()}
            except (FileNotFoundError, ProcessLookupError):  # the thread has ended
                continue
            found |= pids
            pending += pids
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No test leaves a descriptor or a process."""
    descriptors = _descriptors()
    processes = _descendants()
    yield
    left: set[Any] = set(_descriptors().items()) - set(descriptors.items())
    assert not left, f"descriptors left open: {left}"
    left = _descendants() - processes - _OF_THE_SESSION
    assert not left, f"processes left: {[psutil.Process(pid) for pid in left if psutil.pid_exists(pid)]}"


@pytest.fixture(autouse=True)
async def no_task_left(nothing_left: None) -> AsyncIterator[None]:
    """No test leaves a task."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left: {left}"
