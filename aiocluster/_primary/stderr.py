"""Workers' stderr: passed on to this process's own by one thread, in whole lines, with each worker's last bytes kept.

::

    worker ── pipe ──▶┐
    worker ── pipe ──▶├── StderrRelay: a thread ── descriptor 2
    worker ── pipe ──▶┘         └── each worker's tail

It is a thread because a write to descriptor 2 may block: other processes share its open file description, so it can't
be made non-blocking here. While a write blocks, the thread reads nothing, and workers that go on writing wait, as they
would if they wrote there themselves. The event loop never waits.

On Linux, where this process's stderr is a terminal, workers get a pseudo-terminal in place of a pipe, so that programs
which ask `isatty` keep their colours. On other systems they get a pipe: the poll(2) of macOS does not support devices.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from .._processes.stdio import PipeReader, standard

TAIL = 8192
"""How many of the last bytes of a worker's stderr are kept."""

_CHUNK = 65536  # bytes read at once: what a pipe holds
_REST = 1 << 20  # bytes taken of one stream at the end of its process: another that has it may write for ever
_PIECE = 4096  # bytes written at once to a pipe: it takes PIPE_BUF of them whole, whoever else writes there (pipe(7))
_LONGEST = 16384  # bytes of a line that is passed on before its end has come
_PATIENCE = 0.2  # seconds before the beginning of a line, such as a prompt, is passed on without its end
_STUCK = 1.0  # seconds without any progress after which the rest is given up when the relay ends


class Stderr(Protocol):
    """A process's stderr as the primary reads it."""

    def tail(self) -> bytes:
        """Returns the last `TAIL` bytes that the process has written, unless much more waits to be read."""

    def settle(self) -> None:
        """Takes what is in the pipe when the process has ended, so that the tail is its last words."""


class _Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._bytes = b""

    def add(self, data: bytes) -> None:
        self._bytes = data[-TAIL:] if len(data) >= TAIL else (self._bytes + data)[-TAIL:]

    def __bytes__(self) -> bytes:
        return self._bytes


class SilentStderr(PipeReader):
    """The stderr of a silent worker: what its user reads, with a tail."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._tail = _Tail()

    def tail(self) -> bytes:
        """Returns the last bytes; see `Stderr`. At most one pipe's worth is taken from the pipe before it is read."""
        self.fetch(_CHUNK)
        return bytes(self._tail)

    def settle(self) -> None:
        """Completes the tail; see `Stderr`."""
        self.fetch(_REST)

    def _took(self, data: bytes) -> None:
        self._tail.add(data)


class RelayedStderr:
    """A stderr that is passed on. It owns its descriptor until the end of the stream, and the relay's thread closes it.

    Args:
        fd: The reading end.
        relay: Whose thread passes it on.
    """

    def __init__(self, fd: int, relay: StderrRelay) -> None:
        os.set_blocking(fd, False)
        self.fd: int = fd
        self._relay = relay
        self._lock = threading.Lock()  # held for no longer than a read that does not block
        self._tail = _Tail()
        self._unsent = bytearray()
        self._since = 0.0  # when the oldest of these bytes came

    def tail(self) -> bytes:
        """Returns the last bytes; see `Stderr`."""
        self.read(_CHUNK)
        self._relay.wake()
        with self._lock:
            return bytes(self._tail)

    def settle(self) -> None:
        """Completes the tail; see `Stderr`."""
        self.read(_REST)
        self._relay.wake()

    # ---- called by the relay's thread; `read` also by the event loop

    def read(self, limit: int = _CHUNK) -> bool:
        """Takes what is in the pipe, unless ``limit`` bytes are still to be passed on. Returns whether it goes on."""
        with self._lock:
            while self.fd >= 0 and len(self._unsent) < limit:
                try:
                    data = os.read(self.fd, _CHUNK)
                except BlockingIOError:
                    return True
                except OSError:  # EIO: the last process has closed its pseudo-terminal
                    data = b""
                if not data:
                    return False
                if not self._unsent:
                    self._since = time.monotonic()
                self._unsent += data
                self._tail.add(data)
            return self.fd >= 0

    def take_lines(self) -> bytes:
        """Removes and returns the whole lines; also the beginning of a line, if that is long or has waited.

        A carriage return ends a line too: progress bars write nothing else.
        """
        with self._lock:
            end = max(self._unsent.rfind(b"\n"), self._unsent.rfind(b"\r")) + 1
            if len(self._unsent) - end > _LONGEST or (end == 0 and self.due_in() <= 0):
                end = len(self._unsent)
            lines = bytes(self._unsent[:end])
            if end:
                del self._unsent[:end]
                self._since = time.monotonic()
            return lines

    def take_all(self) -> bytes:
        """Removes and returns everything."""
        with self._lock:
            rest = bytes(self._unsent)
            self._unsent.clear()
            return rest

    def due_in(self) -> float:
        """Seconds until the beginning of a line is passed on; infinity if there is none."""
        return self._since + _PATIENCE - time.monotonic() if self._unsent else float("inf")

    def close(self) -> None:
        """Closes the reading end. A process that writes after that gets ``BrokenPipeError``."""
        with self._lock:
            fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class StderrRelay:
    """Passes the stderr of all workers on to descriptor 2, from `start` to `stop`."""

    def __init__(self) -> None:
        self._out = standard(2)
        self._piece = _PIECE if self._out is not None and stat.S_ISFIFO(os.fstat(self._out).st_mode) else _CHUNK
        self._thread: threading.Thread | None = None
        self._wake_read = self._wake_write = -1
        self._waking = threading.Lock()  # so that nothing is written to a descriptor that has been closed
        self._new: deque[RelayedStderr] = deque()
        self._sources: dict[int, RelayedStderr] = {}
        self._is_ending = False
        self._written = 0  # bytes: the sign of progress

    def start(self) -> None:
        """Starts the thread.

        Raises:
            OSError: No descriptor or thread is left.
        """
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()

        def run() -> None:
            try:
                self._run()
            finally:
                self._close()
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._set_ended)

        self._thread = threading.Thread(target=run, name="aiocluster-stderr", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._close()
            raise OSError(errno.EAGAIN, f"the thread that passes stderr on: {error}") from None

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[RelayedStderr, int]]:
        """Opens the stderr of a new process: our end and the process's end, which is closed on exit.

        Raises:
            OSError: No descriptor is left.
        """
        ours, theirs = _open_pair()
        try:
            source = RelayedStderr(ours, self)
            self._new.append(source)
            self.wake()
            yield source, theirs
        finally:
            os.close(theirs)

    def wake(self) -> None:
        """Has the thread look at what is new."""
        with self._waking, contextlib.suppress(OSError):  # it has been woken already, or it has ended
            os.write(self._wake_write, b"\0")

    async def stop(self) -> None:
        """Passes on what is left, and closes everything. It gives up where descriptor 2 has taken nothing for 1 s."""
        self._is_ending = True
        self.wake()
        while not self._ended.done():
            before = self._written
            await asyncio.wait([self._ended], timeout=_STUCK)
            if before == self._written:
                return  # the thread ends, and closes its descriptors, if that write ever returns

    def _set_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    # ---- the thread

    def _run(self) -> None:
        # With all signals blocked, none is handled late because a write blocks here; descriptor 2 without a reader
        # is an error, not a SIGPIPE; and a terminal lets a background job write, even after `stty tostop`.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        while not self._is_ending:
            for fd, _ in poll.poll(self._milliseconds_until_due()):
                if fd == self._wake_read:
                    os.read(fd, 4096)
                    self._adopt(poll)
                else:
                    self._pass_on(self._sources[fd], poll)
            for source in list(self._sources.values()):
                if source.due_in() <= 0:
                    self._pass_on(source, poll)
        while self._new:
            self._adopt(poll)
        for source in self._sources.values():
            source.read(_REST)
            self._write(source.take_all())

    def _adopt(self, poll: select.poll) -> None:
        while self._new:
            source = self._new.popleft()
            self._sources[source.fd] = source
            poll.register(source.fd, select.POLLIN)

    def _pass_on(self, source: RelayedStderr, poll: select.poll) -> None:
        goes_on = source.read()
        self._write(source.take_lines() if goes_on else source.take_all())
        if not goes_on:
            poll.unregister(source.fd)
            del self._sources[source.fd]
            source.close()

    def _milliseconds_until_due(self) -> float | None:
        due = min((source.due_in() for source in self._sources.values()), default=float("inf"))
        return None if due == float("inf") else max(0.0, due * 1000)

    def _write(self, data: bytes) -> None:
        start = 0
        while start < len(data) and self._out is not None:
            end = len(data)
            if end - start > self._piece:
                end = data.rfind(b"\n", start, start + self._piece) + 1 or start + self._piece
            while start < end:
                try:
                    written = os.write(self._out, data[start:end])
                except BlockingIOError:  # somebody else has made it non-blocking
                    writable = select.poll()
                    writable.register(self._out, select.POLLOUT)
                    writable.poll()
                    continue
                except OSError:  # nobody reads it, the disk is full: what is written there is lost, as ever
                    written = end - start
                start += written
                self._written += written

    def _close(self) -> None:
        for source in [*self._sources.values(), *self._new]:
            source.close()
        with self._waking:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_read = self._wake_write = -1


def _open_pair() -> tuple[int, int]:
    """Opens a pipe, or a pseudo-terminal if descriptor 2 is a terminal: the reading and the writing end."""
    if sys.platform == "linux" and os.isatty(2):
        with contextlib.suppress(OSError):  # there are no more pseudo-terminals, or /dev/pts is not mounted
            return _open_terminal()
    return os.pipe()


def _open_terminal() -> tuple[int, int]:
    import tty

    ours, theirs = os.openpty()
    try:
        tty.setraw(theirs)  # bytes pass unchanged: descriptor 2 turns line ends into the terminal's own
        with contextlib.suppress(OSError):
            columns, lines = os.get_terminal_size(2)
            _set_terminal_size(theirs, lines, columns)
    except BaseException:
        os.close(ours)
        os.close(theirs)
        raise
    return ours, theirs


def _set_terminal_size(fd: int, lines: int, columns: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
