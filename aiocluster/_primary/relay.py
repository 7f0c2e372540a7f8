"""What workers write to stdout and stderr: passed on by a thread, in whole lines, with the last bytes of stderr kept.

::

    worker ── pipe ──▶┐
    worker ── pipe ──▶├── Relay: a thread ── descriptor 2, and another one for descriptor 1
    worker ── pipe ──▶┘         └── each worker's tail

It is a thread because a write to these descriptors may block: other processes share their open file descriptions, so
they can't be made non-blocking here. While a write blocks, the thread reads nothing, and workers that go on writing
wait, as they would if they wrote there themselves. The event loop never waits.

The library passes stderr on as it is, and workers inherit stdout. The command relays both, and has a `Presentation`,
which says whose lines these are.

On Linux, where that descriptor is a terminal, workers get a pseudo-terminal in place of a pipe, so that programs
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from .._processes.stdio import PipeReader, standard

TAIL = 8192
"""How many of the last bytes of a worker's stderr are kept."""

_CHUNK = 65536  # bytes read at once: what a pipe holds
_REST = 1 << 20  # bytes taken of one stream at the end of its process: another that has it may write for ever
_PIECE = 4096  # bytes written at once to a pipe: it takes PIPE_BUF of them whole, whoever else writes there (pipe(7))
_LONGEST = 16384  # bytes of a line that is passed on before its end has come
_PATIENCE = 0.2  # seconds before the beginning of a line, such as a prompt, is passed on without its end
_LONG_PATIENCE = 2.0  # seconds before what certainly goes on is passed on without its end: a busy machine may be slow
_MOST_SAID = 1 << 20  # bytes of our own lines that wait to be written
_AGAIN = 60.0  # seconds before something is told again
_STUCK = 1.0  # seconds without any progress after which the rest is given up when the relay ends


@dataclass(eq=False, slots=True)
class Origin:
    """Who has written something.

    Attributes:
        place: A worker's slot, or an agent's name; None for a fork server.
        pid: The process id, once it is known.
    """

    place: int | str | None
    pid: int | None = None


class Presentation(Protocol):
    """How a relay shows whose lines these are. Its methods are called by the relay's thread, but for `indent`.

    Attributes:
        is_by_line: Whether lines are passed on whole only, but for very long ones. Else the beginning of a line, such
            as a prompt, is passed on after 0.2 s.
    """

    is_by_line: bool

    def indent(self, origin: Origin) -> int:
        """Returns how many columns of a terminal are taken by what stands in front of each line."""

    def settled(self, lines: bytes) -> tuple[int, bool]:
        """Returns how many of these bytes to pass on now, and whether the rest may be whole.

        The rest is kept until more has come: for 0.2 s if it may be whole, else for up to 2 s.
        """

    def show(self, origin: Origin, data: bytes) -> bytes:
        """Returns what to write for these bytes: whole lines, or a piece of one that is long or has waited."""

    def say(self, line: bytes) -> bytes:
        """Returns what to write for a line of our own."""

    def missing(self, lines: int) -> bytes:
        """Returns what to write in place of so many lines of our own, for which there was no room."""

    def forget(self) -> None:
        """What has been shown once is to be shown anew. Called by the event loop."""

    def failing(self, error: OSError) -> None:
        """Nothing can be written for now. Called once, and once a minute if that comes and goes."""

    def working(self, lost: int, error: OSError) -> None:
        """Something could be written again; so many bytes are lost."""


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


class Relayed:
    """A stream that is passed on. It owns its descriptor until the end of the stream, and the relay's thread closes it.

    Args:
        fd: The reading end.
        origin: Whose it is.
        relay: Whose thread passes it on.
    """

    def __init__(self, fd: int, origin: Origin, relay: Relay) -> None:
        os.set_blocking(fd, False)
        self.fd: int = fd
        self.origin: Origin = origin
        self._relay = relay
        self._presentation = relay.presentation
        self._lock = threading.Lock()  # held for no longer than a read that does not block
        self._tail = _Tail()
        self._unsent = bytearray()
        self._since = self._came = 0.0  # when the oldest and the newest of these bytes came
        self._due = float("inf")  # when they are passed on if nothing follows

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
                self._came = time.monotonic()
                if not self._unsent:
                    self._since = self._came
                self._unsent += data
                self._due = min(self._due, self._came + _PATIENCE)
                self._tail.add(data)
            return self.fd >= 0

    def take_lines(self) -> bytes:
        """Removes and returns the whole lines; also the beginning of a line, if that is long or has waited.

        A carriage return ends a line too: progress bars write nothing else.
        """
        presentation = self._presentation
        with self._lock:
            end = whole = max(self._unsent.rfind(b"\n"), self._unsent.rfind(b"\r")) + 1
            now, may_be_whole = time.monotonic(), True
            if presentation is not None and whole:
                end, may_be_whole = presentation.settled(bytes(self._unsent[:whole]))
                if end == 0 and self._when_due(may_be_whole) <= now:
                    end = whole
            is_by_line = presentation is not None and presentation.is_by_line
            is_due = whole == 0 and not is_by_line and self._since + _PATIENCE <= now
            if is_due or len(self._unsent) - whole > _LONGEST or len(self._unsent) - end >= _CHUNK:
                end = len(self._unsent)
            lines = bytes(self._unsent[:end])
            if end:
                del self._unsent[:end]
                self._since = now
            if end < whole:
                self._due = self._when_due(may_be_whole)
            else:
                self._due = self._since + _PATIENCE if self._unsent and not is_by_line else float("inf")
            return lines

    def _when_due(self, may_be_whole: bool) -> float:
        """When to pass on whole lines to which more may belong; see `Presentation.settled`."""
        until = self._since + _LONG_PATIENCE
        return min(until, self._came + _PATIENCE) if may_be_whole else until

    def take_all(self) -> bytes:
        """Removes and returns everything."""
        with self._lock:
            rest = bytes(self._unsent)
            self._unsent.clear()
            self._due = float("inf")
            return rest

    def due_in(self) -> float:
        """Seconds until what is kept is passed on; infinity if nothing is, or it waits for the end of its line."""
        return self._due - time.monotonic()

    def close(self) -> None:
        """Closes the reading end. A process that writes after that gets ``BrokenPipeError``."""
        with self._lock:
            fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Relay:
    """Passes what processes write on to one descriptor of this process, from `start` to `stop`.

    Args:
        number: The descriptor: 1 or 2.
        presentation: Says whose lines these are; None: they are passed on as they are.
        mend: Called by a thread when nobody reads that descriptor any more. Returns whether somebody does now.

    Attributes:
        presentation: The same.
    """

    def __init__(
        self, number: int, presentation: Presentation | None = None, mend: Callable[[], bool] | None = None
    ) -> None:
        self.presentation: Presentation | None = presentation
        self._mend = mend
        self._number = number
        self._thread: threading.Thread | None = None
        self._wake_read = self._wake_write = -1
        self._waking = threading.Lock()  # so that nothing is written to a descriptor that has been closed
        self._new: deque[Relayed] = deque()
        self._sources: dict[int, Relayed] = {}
        self._said: deque[bytes] = deque()
        self._room = _MOST_SAID
        self._unsaid = 0  # lines of our own for which there was no room
        self._is_open = self._is_ending = False
        self._written = 0  # bytes: the sign of progress
        self._failure: OSError | None = None
        self._lost = 0  # bytes, since it failed
        self._told_at = -_AGAIN

    def start(self) -> None:
        """Starts the thread.

        Raises:
            OSError: No descriptor or thread is left.
        """
        self._out = standard(self._number)
        self._piece = _PIECE if self._out is not None and stat.S_ISFIFO(os.fstat(self._out).st_mode) else _CHUNK
        self._is_ending = False
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
            name = "stdout" if self._number == 1 else "stderr"
            raise OSError(errno.EAGAIN, f"the thread that passes {name} on: {error}") from None
        self._is_open = True

    @contextlib.contextmanager
    def open(self, origin: Origin) -> Iterator[tuple[Relayed, int]]:
        """Opens a stream of a new process: our end and the process's end, which is closed on exit.

        It is passed on from the exit on, when ``origin`` is complete.

        Raises:
            OSError: No descriptor is left.
        """
        indent = 0 if self.presentation is None else self.presentation.indent(origin)
        ours, theirs = _open_pair(self._number, indent)
        source = Relayed(ours, origin, self)
        try:
            yield source, theirs
        finally:
            os.close(theirs)
            with self._waking:
                is_over = self._wake_read < 0
                if not is_over:
                    self._new.append(source)
            if is_over:
                source.close()
            self.wake()

    def say(self, line: bytes) -> bool:
        """Writes a line of our own, unless too many wait. Returns whether the thread still takes any. Thread-safe."""
        with self._waking:
            if not self._is_open:
                return False
            if self._room < len(line) or self._unsaid:
                self._unsaid += 1
            else:
                self._room -= len(line)
                self._said.append(line)
        self.wake()
        return True

    def wake(self) -> None:
        """Has the thread look at what is new."""
        with self._waking, contextlib.suppress(OSError):  # it has been woken already, or it has ended
            os.write(self._wake_write, b"\0")

    async def stop(self) -> None:
        """Passes on what is left, and closes everything. It gives up where the descriptor has taken nothing for 1 s."""
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
                    self._write_own()
                else:
                    self._pass_on(self._sources[fd], poll)
            for source in list(self._sources.values()):
                if source.due_in() <= 0:
                    self._pass_on(source, poll)
        while self._new:
            self._adopt(poll)
        for source in self._sources.values():
            source.read(_REST)
            self._show(source, source.take_all())
        with self._waking:
            self._is_open = False
        self._write_own()

    def _write_own(self) -> None:
        """Writes what `say` has been given."""
        presentation = self.presentation
        assert presentation is not None or not self._said
        while self._said and presentation is not None:
            line = self._said.popleft()
            self._write(presentation.say(line))
            with self._waking:
                self._room += len(line)
        with self._waking:
            unsaid, self._unsaid = self._unsaid, 0
        if unsaid and presentation is not None:
            self._write(presentation.missing(unsaid))

    def _show(self, source: Relayed, data: bytes) -> None:
        if data and self.presentation is not None:
            data = self.presentation.show(source.origin, data)
        self._write(data)

    def _adopt(self, poll: select.poll) -> None:
        while self._new:
            source = self._new.popleft()
            self._sources[source.fd] = source
            poll.register(source.fd, select.POLLIN)

    def _pass_on(self, source: Relayed, poll: select.poll) -> None:
        goes_on = source.read()
        self._show(source, source.take_lines() if goes_on else source.take_all())
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
                except OSError as error:  # nobody reads it, the disk is full: what is written there is lost, as ever
                    if isinstance(error, BrokenPipeError) and self._mend is not None and self._mend():
                        continue
                    written = end - start
                    self._fails(error, written)
                else:
                    if self._failure is not None:
                        self._works()
                start += written
                self._written += written

    def _fails(self, error: OSError, lost: int) -> None:
        is_new = self._failure is None and time.monotonic() - self._told_at >= _AGAIN
        self._failure = error
        self._lost += lost
        if is_new and self.presentation is not None:
            self._told_at = time.monotonic()
            self.presentation.failing(error)

    def _works(self) -> None:
        error, self._failure = self._failure, None
        lost, self._lost = self._lost, 0
        if error is not None and self.presentation is not None:
            self.presentation.working(lost, error)

    def _close(self) -> None:
        with self._waking:
            self._is_open = False
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_read = self._wake_write = -1
        for source in [*self._sources.values(), *self._new]:
            source.close()
        self._sources.clear()
        self._new.clear()


class Relays:
    """What passes on the output of a primary's processes.

    Attributes:
        stdout: For their stdout; None: they inherit this process's own.
        stderr: For their stderr.
    """

    def __init__(self, stdout: Relay | None, stderr: Relay) -> None:
        self.stdout: Relay | None = stdout
        self.stderr: Relay = stderr

    async def start(self) -> None:
        """Starts both.

        Raises:
            OSError: No descriptor or thread is left.
        """
        self.stderr.start()
        try:
            if self.stdout is not None:
                self.stdout.start()
        except BaseException:
            await self.stderr.stop()
            raise

    def forget(self) -> None:
        """Has shown anew what is shown once, because the code may have changed."""
        for relay in (self.stdout, self.stderr):
            if relay is not None and relay.presentation is not None:
                relay.presentation.forget()

    async def stop(self) -> None:
        """Passes on what is left, stdout first; see `Relay.stop`."""
        try:
            if self.stdout is not None:
                await self.stdout.stop()
        finally:
            await self.stderr.stop()


def _open_pair(number: int, indent: int) -> tuple[int, int]:
    """Opens a pipe, or a pseudo-terminal if that descriptor is a terminal: the reading and the writing end.

    Args:
        number: The descriptor.
        indent: How many columns of the terminal are taken.
    """
    if sys.platform == "linux" and os.isatty(number):
        with contextlib.suppress(OSError):  # there are no more pseudo-terminals, or /dev/pts is not mounted
            return _open_terminal(number, indent)
    return os.pipe()


def _open_terminal(number: int, indent: int) -> tuple[int, int]:
    import tty

    ours, theirs = os.openpty()
    try:
        tty.setraw(theirs)  # bytes pass unchanged: that descriptor turns line ends into the terminal's own
        with contextlib.suppress(OSError):
            columns, lines = os.get_terminal_size(number)
            _set_terminal_size(theirs, lines, max(columns - indent, min(columns, 1)))
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
