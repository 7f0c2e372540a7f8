"""Clusters that serve, as tests start them, and the code that tests run in a worker.

Workers import this module, too, so what only the tests' own process needs is imported where it is used.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocluster import is_worker

if TYPE_CHECKING:
    from aiocluster import Cluster
    from aiocluster._primary.ports.window import Window
    from aiocluster.events import Address, Listening

EXAMPLES = Path(__file__).parents[2] / "examples"
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@asynccontextmanager
async def serving(cluster: Cluster, count: int) -> AsyncIterator[Address]:
    """Enters a cluster and waits until so many workers listen. Yields the address of the last one."""
    async with cluster.events("listening") as heard:
        async with cluster:
            event: Listening | None = None
            for _ in range(count):
                event = await anext(heard)
            assert event is not None
            yield event.address


class Client:
    """A keep-alive HTTP connection to a server that answers with its pid."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, address: Address) -> Client:
        if address.path is not None:
            return cls(*await asyncio.open_unix_connection(address.path))
        return cls(*await asyncio.open_connection(address.host, address.port))

    async def send(self, target: str = "/") -> None:
        """Sends a request, and waits for nothing."""
        self._writer.write(REQUEST.replace(b" / ", f" {target} ".encode()))
        await self._writer.drain()

    async def answer(self) -> int:
        """The pid that a response tells.

        Raises:
            asyncio.IncompleteReadError: The connection ended before a whole response.
        """
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        return int(await self._reader.readexactly(length))

    async def ask(self, target: str = "/") -> int:
        """Sends a request. Returns the pid that answers."""
        await self.send(target)
        return await self.answer()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass


async def ask(address: Address, target: str = "/") -> int:
    """One request on a connection of its own. Returns the pid that answers."""
    client = await Client.connect(address)
    try:
        return await client.ask(target)
    finally:
        await client.close()


def in_worker(function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Makes a test of what is to run in a worker, on each event loop. It is given `tmp_path` as a str if it asks.

    A failed assertion in the worker fails the test, with the worker's traceback.
    """
    if is_worker():
        return function
    takes_path = bool(inspect.signature(function).parameters)

    async def test(worker_loop: str, tmp_path: Path) -> None:
        target = f"{function.__module__}:{function.__qualname__}"
        await run_in_worker(target, loop=worker_loop, args=[str(tmp_path)] if takes_path else [])

    test.__doc__ = function.__doc__
    test.__module__ = function.__module__
    return test


async def run_in_worker(target: Any, **settings: Any) -> None:
    """Runs a target in one worker, to its end.

    Raises:
        AssertionError: It failed.
    """
    from aiocluster import Primary

    async with Primary(target, **settings) as primary:
        worker = await primary.fork()
        exit = await worker.wait()
        await worker.wait_gone()
        if worker._session.failure is not None:
            raise AssertionError(f"in the worker:\n\n{worker._session.failure.remote_traceback}")
        assert (exit.code, exit.signal) == (0, None)


def wait_until_it_handles(number: signal.Signals, pid: int) -> None:
    """Returns when that process handles or ignores the signal."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        masks: list[str] = re.findall(r"^Sig(?:Cgt|Ign):\s*(\w+)$", status, re.MULTILINE)
        if any(int(mask, 16) >> (number - 1) & 1 for mask in masks):
            return
        time.sleep(0.005)


def wait_until_it_is_up(pid: int) -> None:
    """Returns when that process is a primary whose first workers are online. Its title tells."""
    import psutil

    while not re.fullmatch(r"aiocluster .+: primary", "".join(psutil.Process(pid).cmdline()[:1])):
        time.sleep(0.005)


def wait_until_it_ignores(number: signal.Signals, pid: int) -> None:
    """Returns when that process ignores the signal. Workers handle many from their start."""
    while True:
        mask = re.findall(r"^SigIgn:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0]
        if int(mask, 16) >> (number - 1) & 1:
            return
        time.sleep(0.005)


async def all_ready(cluster: Cluster) -> list[Window]:
    """The windows of all ports, when the workers are ready with all connections, so that all have room for more."""
    windows = [window for port in cluster.primary._shared.ports.by_number.values() for window in port.windows]
    while any(window.unready for window in windows):
        await asyncio.sleep(0.001)
    return windows
