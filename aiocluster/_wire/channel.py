"""A Unix socket that sends and receives frames and descriptors.

asyncio's transports don't carry descriptors, so the channel owns its socket and watches it with ``add_reader``.

Frames queued in one iteration of the event loop leave in one system call. A frame with descriptors has a call of its
own. The kernel delivers descriptors with the first byte of the call that sent them, and a read that returns descriptors
returns no bytes of later calls. So one ``recvmsg`` returns the descriptors of at most one frame: the last frame that
starts in its bytes. If the receiver has no room for them (``MSG_CTRUNC``), it knows which frame lost its descriptors,
and later frames still get their own.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import select
import socket
import termios
import time
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from threading import Lock
from typing import Protocol

from ..errors import ChannelClosedError, ProtocolError
from .codec import MAX_FRAME, Decoder, RawFrame
from .descriptors import ANCILLARY_SIZE, CTRUNC, RECEIVE_FLAGS, Descriptors, received
from .flusher import TICK_IF_FULL, flusher

logger = logging.getLogger("aiocluster.channel")

_LATER = 0.005  # seconds
_READ_SIZE = 64 * 1024  # with more, malloc asks the kernel for pages at each read: ten times the cost of a small read
_READS_PER_TURN = 16  # then other callbacks run
_JOIN_SIZE = 256 * 1024  # bytes: frames are joined for one system call until they are this long
_RETRY_DELAY = 0.01  # seconds before descriptors are sent again after ETOOMANYREFS
_REFUSED_FOR = 1.0  # seconds that a frame may block those behind it while the kernel refuses its descriptors


class Delayed(Protocol):
    """A frame in the outbox that is encoded only when it leaves."""

    @property
    def is_open(self) -> bool:
        """Whether the loop may still add to it."""
        ...

    def render(self) -> bytes:
        """Closes it. Returns the frame, without what has left early."""
        ...

    def render_early(self) -> bytes:
        """Returns a frame of what has been added so far; b"" if that has left already. Called in another thread."""
        ...


class WithDescriptors:
    """A frame with descriptors; see `Channel.send`."""

    __slots__ = ("data", "descriptors", "otherwise", "release")

    def __init__(
        self,
        data: bytes,
        descriptors: Sequence[int],
        release: Callable[[], None] | None,
        otherwise: Callable[[], bytes] | None,
    ) -> None:
        self.data = data
        self.descriptors = descriptors
        self.release = release
        self.otherwise = otherwise


Queued = bytes | Delayed | WithDescriptors


class Channel:
    """One end of a channel.

    Args:
        sock: A connected Unix stream socket, which the channel then owns.
        limit: The longest frame it accepts, in bytes.

    Attributes:
        loop: The event loop that it is attached to.
        waits_for_room: Whether the socket is full, so that frames wait in the outbox.
        is_closed: Whether this end is closed.
        is_looked_after: Whether the flusher's thread will look at the outbox.
        hears_one: Whether the frame that is being handled is the only one that has arrived.
        drained: Called when the socket was full, and all that waited for room in it has left.
    """

    def __init__(self, sock: socket.socket, *, limit: int = MAX_FRAME) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decoder = Decoder(limit)
        self._arrived: deque[Descriptors] = deque()
        self._frames: Iterator[RawFrame] | None = None  # of the bytes that were read last, while they are being handled
        self._has_failed = False  # one of these could not be handled
        self._last_read = 0  # bytes
        self._outbox: deque[Queued] = deque()
        self._unsent: bytes | memoryview = b""  # the rest of a partial write
        self.loop: asyncio.AbstractEventLoop | None = None
        self._receive: Callable[[RawFrame, Callable[[], Descriptors]], None] = _nothing
        self._closed: Callable[[Exception | None], None] = _nothing
        self._later: list[Callable[[], None]] = []
        self._flush_is_due = False
        self.waits_for_room: bool = False
        self._refused_since: float | None = None  # since when the kernel has refused descriptors
        self._is_broken = False  # the other end no longer reads
        self._lock = Lock()  # held by the thread that makes frames leave, or closes the socket
        self.is_closed: bool = False
        self.is_looked_after: bool = False
        self.hears_one: bool = False
        self.drained: Callable[[], None] = _nothing
        self._is_paused = False

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._sock.fileno()

    # ---- the event loop

    def attach(
        self,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[RawFrame, Callable[[], Descriptors]], None],
        closed: Callable[[Exception | None], None],
    ) -> None:
        """Reads and writes on this event loop from now on.

        Args:
            loop: A loop that is running or is about to run.
            receive: Called with each frame and a function that hands out its descriptors.
            closed: Called once when the other end is gone: with None, or with the error that closed the channel.
        """
        self.loop = loop
        self._receive, self._closed = receive, closed
        if self.is_closed:
            return
        loop.add_reader(self._sock.fileno(), self._on_readable)
        if self._frames is not None:
            loop.call_soon(self._on_readable)
        if self._outbox or self._unsent:
            self._schedule()
        if self._later:
            loop.call_soon(self._call_later)

    def attach_blocking(self, receive: Callable[[RawFrame, Callable[[], Descriptors]], None]) -> None:
        """Passes the frames of `read_blocking` to ``receive``. For a process without an event loop."""
        self._receive, self._closed = receive, _nothing

    def detach(self) -> None:
        """Detaches from its loop, which is about to end or has ended. The channel can be attached to another one."""
        if self.loop is not None and not self.loop.is_closed() and not self.is_closed:
            self._flush()
            if not self.is_closed:
                self.loop.remove_reader(self._sock.fileno())
                self.loop.remove_writer(self._sock.fileno())
        self.loop = None
        self._flush_is_due = self.waits_for_room = False

    def pause(self) -> None:
        """Reads no more than it has read, until `resume`: what the other end sends then waits in the socket."""
        if not self._is_paused and self.loop is not None and not self.is_closed:
            self._is_paused = True
            self.loop.remove_reader(self._sock.fileno())

    def resume(self) -> None:
        """Reads on."""
        if self._is_paused and self.loop is not None and not self.is_closed:
            self._is_paused = False
            self.loop.add_reader(self._sock.fileno(), self._on_readable)

    def later(self, callback: Callable[[], None]) -> None:
        """Calls this in a few milliseconds. If the loop ends first, calls it on the next loop that is attached."""
        if not self._later and self.loop is not None:
            self.loop.call_later(_LATER, self._call_later)
        self._later.append(callback)

    def hurry(self) -> None:
        """Runs the callbacks given to `later` in the loop's next iteration."""
        if self.loop is not None:
            self.loop.call_soon(self._call_later)

    def _call_later(self) -> None:
        callbacks, self._later = self._later, []
        for callback in callbacks:
            callback()

    # ---- out

    def send(
        self,
        frame: bytes | Delayed,
        descriptors: Sequence[int] = (),
        release: Callable[[], None] | None = None,
        otherwise: Callable[[], bytes] | None = None,
    ) -> None:
        """Queues a frame. Frames queued in one iteration of the loop leave together at its end.

        Args:
            frame: An encoded frame, or one that is encoded when it leaves.
            descriptors: At most `MAX_DESCRIPTORS`. The caller owns them and keeps them open until ``release``.
            release: Called once the descriptors have been sent, or never will be.
            otherwise: Returns a frame to send without descriptors, if the kernel refuses them for a second because this
                user has too many in flight (ETOOMANYREFS, unix(7)). Without it, the channel retries forever.

        Raises:
            ChannelClosedError: The channel is closed; ``release`` is not called.
        """
        if self.is_closed:
            raise ChannelClosedError("the channel is closed")
        if self._is_broken:
            if release is not None:
                release()
            return
        if descriptors:
            assert isinstance(frame, bytes)
            self._outbox.append(WithDescriptors(frame, descriptors, release, otherwise))
        else:
            self._outbox.append(frame)
        if not self._flush_is_due:
            self._schedule()

    def send_alone(self, frame: bytes) -> None:
        """Sends a frame now, and what is queued before it, instead of at the end of the iteration.

        For a frame that others will hardly follow in this iteration.

        Raises:
            ChannelClosedError: The channel is closed.
        """
        if self._outbox or self.waits_for_room or self.loop is None or self.is_closed or self._is_broken:
            self.send(frame)
            self.flush()
        else:
            with self._lock:
                is_first = not self._outbox and not self._unsent  # the flusher puts back what it could not send
                if is_first:
                    try:
                        self._unsent = frame[self._sock.send(frame) :]
                    except OSError:
                        self._unsent = frame  # `_flush` will meet the error again
                    if not self._unsent:
                        return
            if is_first:
                self._schedule()
            else:
                self.send(frame)
        if (self._outbox or self._unsent) and not self.is_looked_after:
            self.look_after()

    def withdraw(self, descriptors: Collection[int]) -> None:
        """Removes the queued frames that have any of these descriptors, which are about to be closed."""
        with self._lock:
            kept = [
                frame
                for frame in self._outbox
                if not isinstance(frame, WithDescriptors) or all(fd not in descriptors for fd in frame.descriptors)
            ]
            self._outbox.clear()
            self._outbox.extend(kept)

    def _schedule(self) -> None:
        if self.loop is not None and not self.waits_for_room:
            self._flush_is_due = True
            self.loop.call_soon(self._flush_when_due)

    def _flush_when_due(self) -> None:
        if self._flush_is_due:
            self._flush()

    def flush(self) -> None:
        """Sends the queued frames now, as far as the socket has room, instead of at the end of the iteration."""
        if self.loop is not None and not self.waits_for_room and not self.is_closed:
            self._flush()

    def flush_blocking(self) -> None:
        """Sends all queued frames, however long it takes. For a process without an event loop: at its start and end."""
        while (self._outbox or self._unsent) and not self.is_closed:  # a broken channel drops its outbox
            self._sock.setblocking(True)
            try:
                self._flush()
            finally:
                if not self.is_closed:
                    self._sock.setblocking(False)

    def _flush(self) -> None:
        """Writes until the outbox is empty or the socket is full."""
        self._flush_is_due = False
        with self._lock:
            self._flush_locked()

    def _flush_locked(self) -> None:
        try:
            while self._unsent or self._outbox:
                if not self._unsent:
                    self._send_next(self._outbox)
                else:
                    sent = self._sock.send(self._unsent)
                    self._unsent = memoryview(self._unsent)[sent:]
        except BlockingIOError:
            self._wait_for_room()
        except OSError as error:
            if error.errno == errno.EBADF and self._outbox and not self._unsent:
                self._drop_first()
                self._schedule()
            elif error.errno == errno.ETOOMANYREFS:
                self._on_refused()
            else:
                self._drop_outbox()  # the other end no longer reads; frames it sent before may still be unread here
                self._is_broken = True
        else:
            if self.waits_for_room:
                self.waits_for_room = False
                if self.loop is not None:
                    self.loop.remove_writer(self._sock.fileno())
                    if self.drained is not _nothing:
                        self.loop.call_soon(self.drained)

    def _send_next(self, outbox: deque[Queued], still_open: list[Queued] | None = None) -> None:
        """Sends the first frame if it has descriptors; else joins and sends the frames before the next one that has.

        Args:
            outbox: The frames, of which those that have been sent are removed.
            still_open: Takes the frames that the loop may still add to, of which a part is sent. None: the loop will
                add nothing, because it is the one that sends.
        """
        first = outbox[0]
        if isinstance(first, WithDescriptors):
            rights = array("i", first.descriptors)
            sent = self._sock.sendmsg([first.data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            outbox.popleft()
            self._unsent = first.data[sent:]
            self._refused_since = None
            if first.release is not None:
                first.release()
            return
        joined: list[bytes] = []
        size = 0
        while outbox and size < _JOIN_SIZE:
            frame = outbox[0]
            if isinstance(frame, WithDescriptors):
                break
            outbox.popleft()
            if isinstance(frame, bytes):
                data = frame
            elif still_open is not None and frame.is_open:
                still_open.append(frame)
                data = frame.render_early()
            else:
                data = frame.render()
            joined.append(data)
            size += len(data)
        self._unsent = b"".join(joined) if len(joined) > 1 else joined[0]
        if self._unsent:
            sent = self._sock.send(self._unsent)
            self._unsent = self._unsent[sent:]

    # ---- out, although the loop is blocked

    def look_after(self) -> None:
        """Has what is queued leave in a few milliseconds although the loop is blocked; see `flusher`."""
        flusher.look_after(self)

    def flush_in_thread(self) -> float | None:
        """See `flusher.Queue`. Errors are left for the loop to find."""
        with self._lock:
            try:
                self._flush_early()
            except BlockingIOError:
                return TICK_IF_FULL
            except OSError:
                return None
            return 0.0 if self._outbox else None

    def flush_at_exit(self, seconds: float) -> None:
        """See `flusher.Queue`."""
        end = time.monotonic() + seconds
        if not self._lock.acquire(timeout=seconds):
            return  # the loop was interrupted while it sent
        try:
            while True:
                try:
                    self._flush_early()
                    return
                except BlockingIOError:
                    _, room, _ = select.select([], [self._sock], [], max(0.0, end - time.monotonic()))
                    if not room:
                        return
        except (OSError, ValueError):
            pass  # the other end is gone, or this one is closed
        finally:
            self._lock.release()

    def _flush_early(self) -> None:
        """Sends what is queued while the loop may be in the middle of adding to it. Needs the lock."""
        # Not what the loop queues from now on: it may follow messages that join a batch after that has been looked at.
        now = deque(self._outbox.popleft() for _ in range(len(self._outbox)))
        still_open: list[Queued] = []
        try:
            while (self._unsent or now) and not self.is_closed and not self._is_broken:
                if not self._unsent:
                    self._send_next(now, still_open)
                else:
                    sent = self._sock.send(self._unsent, socket.MSG_DONTWAIT)
                    self._unsent = memoryview(self._unsent)[sent:]
        finally:
            self._outbox.extendleft(reversed(now))
            self._outbox.extendleft(reversed(still_open))

    def _wait_for_room(self) -> None:
        if not self.waits_for_room and self.loop is not None:
            self.waits_for_room = True
            self.loop.add_writer(self._sock.fileno(), self._flush)

    def _on_refused(self) -> None:
        """Retries later: too many descriptors are in flight. Room in the socket does not mean that there are fewer."""
        first = self._outbox[0]
        assert isinstance(first, WithDescriptors)
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
            logger.warning("descriptors have to wait: too many are in flight (ETOOMANYREFS, RLIMIT_NOFILE)")
        elif now - self._refused_since > _REFUSED_FOR and (first.otherwise is not None or self.loop is None):
            self._outbox.popleft()
            if first.otherwise is not None:
                self._outbox.appendleft(first.otherwise())
            if first.release is not None:
                first.release()
            self._schedule()
            return
        if self.loop is None:
            time.sleep(_RETRY_DELAY)
            return
        self.loop.remove_writer(self._sock.fileno())
        self.waits_for_room = True
        self.loop.call_later(_RETRY_DELAY, self._has_room)

    def _has_room(self) -> None:
        self.waits_for_room = False
        if not self.is_closed:
            self._flush()

    # ---- in

    def _on_readable(self) -> None:
        if self.is_closed or self.loop is None:
            return  # called again after an interruption, and too late
        self._flush_is_due = True  # replies queued in this iteration are sent at the end of this method
        try:
            for _ in range(_READS_PER_TURN):
                if not self._read_once() or self._is_paused:
                    break
        except BaseException:  # Ctrl-C: the loop may go on, and then so must this
            self._flush_is_due = False
            if self.loop is not None:
                self._schedule()
                self.loop.call_soon(self._on_readable)
            raise
        if self._flush_is_due and not self.is_closed:
            if (self._outbox or self._unsent) and not self.waits_for_room:
                self._flush()
            else:
                self._flush_is_due = False

    def read_blocking(self) -> bool:
        """Waits for bytes and handles their frames; False once the channel is closed. For a process without a loop."""
        self._sock.setblocking(True)
        try:
            self._read_once()
        finally:
            if not self.is_closed:
                self._sock.setblocking(False)
        return not self.is_closed

    def _read_once(self) -> bool | None:
        """Makes one system call. Returns whether more is likely to be waiting; None if there was nothing to read."""
        if self._frames is not None:
            return self._hand_on(self._frames)  # the rest of what was read before an interruption
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(_READ_SIZE, ANCILLARY_SIZE, RECEIVE_FLAGS)
        except BlockingIOError:
            return None
        except OSError:
            data, ancillary, flags = b"", [], 0  # the other end was killed before it had read all our bytes
        self._last_read = size = len(data)
        has_descriptors = bool(ancillary or flags & CTRUNC)
        if has_descriptors:
            self._arrived.append(received(ancillary))
        if not data:
            self._end(None)
            return False
        one = self._decoder.feed_one(data)
        self.hears_one = one is not None
        self._frames = self._decoder.feed(data) if one is None else iter((one,))
        return self._hand_on(self._frames) and (has_descriptors or size == _READ_SIZE)

    def _hand_on(self, frames: Iterator[RawFrame]) -> bool:
        """Passes frames to their receiver. If it is interrupted, the next call continues with the next frame.

        Returns whether the channel is still open.
        """
        try:
            for frame in frames:
                try:
                    self._receive(frame, self._take_descriptors)
                except ProtocolError:
                    raise
                except (SystemExit, KeyboardInterrupt):
                    self._has_failed = True
                    raise
                except BaseException:  # a bug on this side: only this frame is lost
                    logger.exception("a frame of kind %s could not be handled", frame[0])
                    self._has_failed = True
                if self.is_closed:
                    return False
        except ProtocolError as error:
            self._end(error)
            return False
        self._frames = None
        has_failed, self._has_failed = self._has_failed, False
        if self._arrived and len(self._arrived) > (1 if self._decoder.buffered else 0):
            if not has_failed:
                self._end(ProtocolError("descriptors came with a frame that names none"))
                return False
            self._arrived.popleft().close()  # they belong to the frame that failed
        return True

    def _take_descriptors(self) -> Descriptors:
        if not self._arrived:
            raise ProtocolError("a frame names descriptors that did not come")
        return self._arrived.popleft()

    # ---- the end

    def finish(self) -> None:
        """The other process has ended: reads what it sent, then closes as at the end of the stream.

        A child of that process may still have its end open, and go on writing: what comes after this call is not read.
        """
        left = self._unread()
        while left > 0 and not self.is_closed and self._read_once() is not None:
            left -= self._last_read
        self._end(None)

    def _unread(self) -> int:
        """How many bytes have arrived that have not been read (``FIONREAD``)."""
        if self.is_closed:
            return 0
        count = array("i", [0])
        fcntl.ioctl(self._sock, termios.FIONREAD, count)
        return count[0]

    def abandon(self) -> None:
        """Closes the copy in a forked child of the process that owns the channel. Touches no event loop."""
        self.loop = None
        self._lock = Lock()  # a thread of the parent may have held the other one
        self._sock.close()
        self.close()

    def close(self) -> None:
        """Closes this end: drops queued frames and does not call ``closed``. Idempotent."""
        self._closed = _nothing
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._frames = None
        if self.loop is not None and not self.loop.is_closed():
            self.loop.remove_reader(self._sock.fileno())
            self.loop.remove_writer(self._sock.fileno())
        with self._lock:
            self._hang_up()
            self._drop_outbox()
        for descriptors in self._arrived:
            descriptors.close()
        self._arrived.clear()
        closed, self._closed, self._receive = self._closed, _nothing, _nothing
        closed(error)

    def _hang_up(self) -> None:
        """Reads what is left in the socket, then closes it.

        If bytes were left unread, the other end would get a connection reset. uvloop calls a reader
        only once for a reset that arrives together with bytes.
        """
        try:
            self._sock.shutdown(socket.SHUT_RD)
            while self._sock.recv(_READ_SIZE, socket.MSG_DONTWAIT):
                pass
        except OSError:
            pass
        self._sock.close()

    def _drop_first(self) -> None:
        """Drops the first frame: its descriptors were closed before it was sent. The others can still be sent."""
        frame = self._outbox.popleft()
        logger.error("dropped a frame whose descriptors were closed before it was sent")
        if isinstance(frame, WithDescriptors) and frame.release is not None:
            frame.release()

    def _drop_outbox(self) -> None:
        dropped = list(self._outbox)
        self._outbox.clear()
        self._unsent = b""
        for frame in dropped:
            if isinstance(frame, WithDescriptors) and frame.release is not None:
                frame.release()


def _nothing(*args: object) -> None:
    pass
