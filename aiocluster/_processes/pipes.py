"""Pipes as anyio byte streams: a process's standard streams, seen from its parent.

They are plain descriptors that are watched by the loop, not asyncio's transports: nothing has to be awaited to make
one, and one that is forgotten is closed without a warning.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream


class _Pipe:
    """One end of a pipe, which owns its descriptor."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._closed: Callable[[], None] = _nothing

    @property
    def is_closed(self) -> bool:
        """Whether this end is closed."""
        return self._fd < 0

    def when_closed(self, closed: Callable[[], None]) -> None:
        """Calls this once it is closed."""
        self._closed = closed

    def close(self) -> None:
        """Closes it at once. Idempotent."""
        if self._fd >= 0:
            anyio.notify_closing(self._fd)
            fd, self._fd = self._fd, -1
            os.close(fd)
            closed, self._closed = self._closed, _nothing
            closed()

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class PipeReader(_Pipe, ByteReceiveStream):
    """The reading end of a pipe; what the process has written can still be read when it is gone.

    Read it, or the process blocks once the pipe (64 KiB on Linux) is full. It closes itself at its end, and with the
    `Primary` or `ChildProcess` it belongs to.

    Args:
        fd: The descriptor, which the stream owns.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._is_at_end = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Returns up to ``max_bytes`` bytes.

        Raises:
            anyio.EndOfStream: The process has closed its end, and all has been read.
            anyio.ClosedResourceError: This stream has been closed.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._fd < 0:
                raise anyio.EndOfStream if self._is_at_end else anyio.ClosedResourceError
            try:
                data = os.read(self._fd, max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._fd)
                continue
            if not data:
                self._is_at_end = True
                self.close()
                raise anyio.EndOfStream
            return data

    async def aclose(self) -> None:
        """Closes this end; a process that writes on gets ``BrokenPipeError``. Idempotent."""
        self.close()


class PipeWriter(_Pipe, ByteSendStream):
    """The writing end of a pipe.

    Args:
        fd: The descriptor, which the stream owns.
    """

    async def send(self, item: bytes) -> None:
        """Writes all of these bytes; waits while the pipe is full. If it is cancelled, some may have been written.

        Raises:
            anyio.BrokenResourceError: Nobody reads the other end any more.
            anyio.BusyResourceError: Another task is sending.
            anyio.ClosedResourceError: This stream has been closed.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        left = memoryview(item)
        while left:
            if self._fd < 0:
                raise anyio.ClosedResourceError
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._fd)
            except BrokenPipeError:
                raise anyio.BrokenResourceError from None

    async def aclose(self) -> None:
        """Closes this end: the process reads the end of its input. Idempotent."""
        self.close()


def _nothing() -> None:
    pass
