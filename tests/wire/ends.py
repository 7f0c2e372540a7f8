"""Both ends of a channel in one process, for tests."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, SupportsIndex

from aiocluster._wire.channel import Channel
from aiocluster._wire.codec import RawFrame
from aiocluster._wire.descriptors import Descriptors

PATIENCE = 20.0  # seconds: longer than any of these tests takes on the slowest machine


class CountingSocket(socket.socket):
    """Counts the system calls it makes."""

    sends = 0
    receives = 0

    def send(self, data: Any, flags: int = 0, /) -> int:
        self.sends += 1
        return super().send(data, flags)

    def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[tuple[int, int, Any]] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        self.sends += 1
        return super().sendmsg(buffers, ancdata, flags, address)

    def recvmsg(self, bufsize: SupportsIndex, ancbufsize: SupportsIndex = 0, flags: SupportsIndex = 0, /) -> Any:
        self.receives += 1
        return super().recvmsg(int(bufsize), int(ancbufsize), int(flags))


def socket_pair() -> tuple[CountingSocket, CountingSocket]:
    one, other = socket.socketpair()
    return CountingSocket(fileno=one.detach()), CountingSocket(fileno=other.detach())


class End:
    """One end of a channel, which keeps what it hears.

    Args:
        sock: Its socket.
        hear: Called with each frame; by default, a frame ``[kind, count, …]`` of kind `WITH_DESCRIPTORS` takes its
            descriptors.
    """

    WITH_DESCRIPTORS = 2

    def __init__(
        self, sock: CountingSocket, hear: Callable[[RawFrame, Callable[[], Descriptors]], None] | None = None
    ) -> None:
        self.sock = sock
        self.channel = Channel(sock)
        self.frames: list[RawFrame] = []
        self.contents: list[list[bytes]] = []  # of the descriptors of each frame that had some
        self.ends: list[Exception | None] = []
        self._hear = hear or self._keep
        self._changed = asyncio.Event()

    def attach(self, loop: asyncio.AbstractEventLoop | None = None) -> Self:
        self.channel.attach(loop or asyncio.get_running_loop(), self._receive, self._end)
        return self

    def _receive(self, frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        self.frames.append(frame)
        self._changed.set()
        self._hear(frame, take)

    def _keep(self, frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        if frame[0] == self.WITH_DESCRIPTORS:
            self.contents.append([contents(fd) for fd in take().take()])

    def _end(self, error: Exception | None) -> None:
        self.ends.append(error)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds; it is asked again whenever something was heard."""
        self._changed = asyncio.Event()
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, count: int) -> list[RawFrame]:
        """The first ``count`` frames, when they have come."""
        await self.until(lambda: len(self.frames) >= count)
        return self.frames[:count]

    async def ended(self) -> Exception | None:
        """The error the channel ended with, when it has."""
        await self.until(lambda: bool(self.ends))
        return self.ends[0]


class Pair:
    """Two ends in one loop; both are closed at the end of the ``with``."""

    def __init__(self, hear: Callable[[RawFrame, Callable[[], Descriptors]], None] | None = None) -> None:
        here, there = socket_pair()
        self.here, self.there = End(here), End(there, hear)

    def __enter__(self) -> tuple[End, End]:
        return self.here, self.there

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.here.channel.close()
        self.there.channel.close()


def marked(mark: bytes) -> int:
    """A descriptor that `contents` recognises, whatever its number becomes."""
    reader, writer = os.pipe()
    os.write(writer, mark)
    os.close(writer)
    return reader


def contents(fd: int) -> bytes:
    """The mark of a descriptor, which is closed."""
    mark = os.read(fd, 100)
    os.close(fd)
    return mark
