"""The standard streams and the channel of a new process: opens them, and makes this side's pipes anyio byte streams.

A stream is a plain descriptor that the event loop watches, not an asyncio transport: making one needs no await, and one
that is garbage-collected is closed without a warning.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

from .start import Streams

Entry = str | int
"""What a stream is: ``"pipe"``, ``"ignore"`` (``/dev/null``), ``"inherit"``, or a descriptor."""


@dataclass(slots=True)
class Stdio:
    """The open streams of a process: both ends of each.

    Attributes:
        theirs: The process's ends.
        stdin: Our end of its stdin; None unless that is a pipe.
        stdout: Our end of its stdout; None unless that is a pipe.
        stderr: Our end of its stderr; None unless that is a pipe.
    """

    theirs: Streams = (None, None, None)
    stdin: PipeWriter | None = None
    stdout: PipeReader | None = None
    stderr: PipeReader | None = None

    def close(self) -> None:
        """Closes our ends."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def open_stdio(stdin: Entry, stdout: Entry, stderr: Entry) -> Iterator[Stdio]:
    """Opens the streams.

    On exit the process's ends are closed in this process; after an exception, our ends are closed too.

    Raises:
        OSError: No descriptors are left.
    """
    occupy_standard()
    stdio = Stdio()
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as undo:
        undo.callback(stdio.close)
        first = _given(stdin, 0)
        if stdin == "pipe":
            first, ours = os.pipe()
            theirs.callback(os.close, first)
            stdio.stdin = PipeWriter(ours)
        second, stdio.stdout = _output(stdout, 1, theirs)
        third, stdio.stderr = _output(stderr, 2, theirs)
        stdio.theirs = (first, second, third)
        yield stdio
        undo.pop_all()


def _output(entry: Entry, number: int, theirs: contextlib.ExitStack) -> tuple[int | None, PipeReader | None]:
    if entry != "pipe":
        return _given(entry, number), None
    ours, write = os.pipe()
    theirs.callback(os.close, write)
    return write, PipeReader(ours)


def _given(entry: Entry, number: int) -> int | None:
    if isinstance(entry, int):
        return entry
    return subprocess.DEVNULL if entry == "ignore" or standard(number) is None else None


def standard(fd: int) -> int | None:
    """Returns ``fd``, one of 0 to 2, if it is a standard stream of this process; else None.

    A process that was started with some of them closed opens files of its own there, such as an event loop's. Those are
    not inheritable, as all that Python opens.
    """
    try:
        return fd if os.get_inheritable(fd) else None
    except OSError:
        return None


def occupy_standard() -> None:
    """Opens the null device in place of each standard stream that is closed, as sshd and Node do.

    Otherwise the next pipe or socket would get that number, and a process started by this one would take it for its
    standard stream.

    Raises:
        OSError: There is no null device.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number, which is fd


@contextlib.contextmanager
def open_channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Opens a channel: our end and the process's end.

    On exit the process's end is closed in this process; after an exception, our end is closed too.

    Raises:
        OSError: No descriptors are left.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs, contextlib.ExitStack() as undo:
        undo.callback(ours.close)
        yield ours, theirs
        undo.pop_all()


class _Pipe:
    """One end of a pipe. It owns its descriptor."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._closed: Callable[[], None] = _nothing

    @property
    def is_closed(self) -> bool:
        """Whether this end is closed."""
        return self._fd < 0

    def when_closed(self, closed: Callable[[], None]) -> None:
        """Sets the function to call when this end is closed."""
        self._closed = closed

    def close(self) -> None:
        """Closes this end at once. Idempotent."""
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
    """The reading end of a pipe. What the process has written can still be read after the process has ended.

    Read it, or the process blocks once the pipe is full (64 KiB on Linux). It is closed at the end of the stream, and
    when its `Primary` or `ChildProcess` is closed.

    Args:
        fd: The descriptor, which the stream owns.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._is_at_end = False
        self._fetched = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Returns up to ``max_bytes`` bytes.

        Raises:
            anyio.EndOfStream: The process has closed its end, and everything has been read.
            anyio.ClosedResourceError: This stream has been closed.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._fetched:
                data, self._fetched = self._fetched[:max_bytes], self._fetched[max_bytes:]
                return data
            if self._fd < 0:
                raise anyio.EndOfStream if self._is_at_end else anyio.ClosedResourceError
            try:
                data = self._read(max_bytes)
            except BlockingIOError:
                with contextlib.suppress(anyio.ClosedResourceError):  # closed, or `fetch` has been faster
                    await anyio.wait_readable(self._fd)
                continue
            if data:
                return data

    def fetch(self, limit: int) -> None:
        """Takes up to ``limit`` bytes from the pipe now, without waiting. `receive` returns them."""
        while self._fd >= 0 and len(self._fetched) < limit:
            try:
                self._fetched += self._read(limit - len(self._fetched))
            except BlockingIOError:
                break
        if self._fetched and self._fd >= 0:
            anyio.notify_closing(self._fd)  # wakes a `receive` that waits for the descriptor

    def _read(self, max_bytes: int) -> bytes:
        """Reads the descriptor, and closes it at the end of the stream."""
        data = os.read(self._fd, max_bytes)
        if not data:
            self._is_at_end = True
            self.close()
        self._took(data)
        return data

    def _took(self, data: bytes) -> None:
        """Called with what has been read from the pipe."""

    def close(self) -> None:
        """Closes this end at once. Idempotent."""
        if self._fd >= 0 and not self._is_at_end:
            self._fetched = b""
        super().close()

    async def aclose(self) -> None:
        """Closes this end. A process that writes after that gets ``BrokenPipeError``. Idempotent."""
        self.close()


class PipeWriter(_Pipe, ByteSendStream):
    """The writing end of a pipe.

    Args:
        fd: The descriptor, which the stream owns.
    """

    async def send(self, item: bytes) -> None:
        """Writes all these bytes; waits while the pipe is full. If cancelled, some may have been written.

        Raises:
            anyio.BrokenResourceError: The other end has been closed.
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
        """Closes this end. The process then reads end of file. Idempotent."""
        self.close()


def _nothing() -> None:
    pass
