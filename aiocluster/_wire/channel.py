"""One Unix socket: frames and descriptors out and in.

asyncio's transports don't carry descriptors, so the channel owns its socket and watches it by ``add_reader``.

Frames sent in one turn of the loop leave in one system call. A frame with descriptors has a call of its own, for the
kernel hands descriptors out with the first byte they were sent with, and no read goes past them: so what one
``recvmsg`` returns holds the descriptors of one frame at most, of the last frame that starts in it. A batch that the
receiver had no room for (``MSG_CTRUNC``) is thereby known to be that frame's, and later frames get *their* descriptors.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from ..errors import ChannelClosedError, ProtocolError
from .codec import MAX_FRAME, Decoder, RawFrame
from .descriptors import ANCILLARY_SIZE, CTRUNC, RECEIVE_FLAGS, Descriptors, received

logger = logging.getLogger("aiocluster.channel")

_LATER = 0.005  # seconds
_READ_SIZE = 64 * 1024  # more makes malloc ask the kernel for pages, each time: tenfold the cost of a small read
_READS_PER_TURN = 16  # before other callbacks get their turn
_JOIN_SIZE = 256 * 1024  # how many bytes of frames are joined for one system call
_RETRY_DELAY = 0.01  # seconds before descriptors are tried again after ETOOMANYREFS
_REFUSED_FOR = 1.0  # seconds that a frame whose descriptors the kernel refuses holds up what stands behind it


class Delayed(Protocol):
    """Something in the outbox that becomes bytes only when it leaves."""

    def render(self) -> bytes: ...


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


class Channel:
    """One end of a channel.

    Args:
        sock: A connected Unix stream socket; the channel owns it from now on.
        limit: The longest frame it takes, in bytes.
    """

    def __init__(self, sock: socket.socket, *, limit: int = MAX_FRAME) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decoder = Decoder(limit)
        self._arrived: deque[Descriptors] = deque()
        self._outbox: deque[bytes | Delayed | WithDescriptors] = deque()
        self._unsent: bytes | memoryview = b""  # what a partial write left
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive: Callable[[RawFrame, Callable[[], Descriptors]], None] = _nothing
        self._closed: Callable[[Exception | None], None] = _nothing
        self._later: list[Callable[[], None]] = []
        self._flush_is_due = False
        self._waits_for_room = False
        self._refused_since: float | None = None  # the kernel takes no descriptors
        self._is_broken = False  # the other end reads no more
        self.is_closed: bool = False

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._sock.fileno()

    # ---- which loop

    def attach(
        self,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[RawFrame, Callable[[], Descriptors]], None],
        closed: Callable[[Exception | None], None],
    ) -> None:
        """Reads and writes on this loop from now on.

        Args:
            loop: The loop that runs, or is about to.
            receive: Called with each frame and a function that hands out its descriptors.
            closed: Called once when the other end is gone: with None, or with the error that ended it.
        """
        self._loop = loop
        self._receive, self._closed = receive, closed
        if self.is_closed:
            return
        loop.add_reader(self._sock.fileno(), self._on_readable)
        if self._outbox or self._unsent:
            self._schedule()
        if self._later:
            loop.call_soon(self._call_later)

    def attach_blocking(self, receive: Callable[[RawFrame, Callable[[], Descriptors]], None]) -> None:
        """Hands the frames of `read_blocking` to ``receive``. For a process without a loop."""
        self._receive = receive

    def detach(self) -> None:
        """Leaves its loop, which is about to end or has ended; another may be attached to."""
        if self._loop is not None and not self._loop.is_closed() and not self.is_closed:
            self._flush()
            if not self.is_closed:
                self._loop.remove_reader(self._sock.fileno())
                self._loop.remove_writer(self._sock.fileno())
        self._loop = None
        self._flush_is_due = self._waits_for_room = False

    def later(self, callback: Callable[[], None]) -> None:
        """Calls this in a few milliseconds; should its loop end before, on the next loop that is attached to."""
        if not self._later and self._loop is not None:
            self._loop.call_later(_LATER, self._call_later)
        self._later.append(callback)

    def hurry(self) -> None:
        """Calls what `later` was given in the next turn."""
        if self._loop is not None:
            self._loop.call_soon(self._call_later)

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
        """Queues a frame; what one turn of the loop queues leaves together at its end.

        Args:
            frame: An encoded frame, or something that renders one when it leaves.
            descriptors: At most `MAX_DESCRIPTORS`; they stay the caller's, and open until ``release``.
            release: Called once the descriptors have left, or when they never will.
            otherwise: Asked for the frame to send without them should the kernel refuse them for a second, because this
                user has too many in flight (ETOOMANYREFS, unix(7)); without it they are tried again for ever.

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

    def withdraw(self, descriptors: Collection[int]) -> None:
        """Takes back the frames that still wait here with one of these descriptors, which are about to be closed."""
        kept = [
            frame
            for frame in self._outbox
            if not isinstance(frame, WithDescriptors) or all(fd not in descriptors for fd in frame.descriptors)
        ]
        self._outbox.clear()
        self._outbox.extend(kept)

    def _schedule(self) -> None:
        if self._loop is not None and not self._waits_for_room:
            self._flush_is_due = True
            self._loop.call_soon(self._flush_when_due)

    def _flush_when_due(self) -> None:
        if self._flush_is_due:
            self._flush()

    def flush(self) -> None:
        """Sends what is queued now, as far as the socket takes it, instead of at the end of the turn."""
        if self._loop is not None and not self._waits_for_room and not self.is_closed:
            self._flush()

    def flush_blocking(self) -> None:
        """Sends all that is queued, however long it takes. For a process without a loop: at its start and end."""
        while (self._outbox or self._unsent) and not self.is_closed:  # a broken one drops its outbox
            self._sock.setblocking(True)
            try:
                self._flush()
            finally:
                if not self.is_closed:
                    self._sock.setblocking(False)

    def _flush(self) -> None:
        """Writes until the outbox is empty or the socket full."""
        self._flush_is_due = False
        try:
            while self._unsent or self._outbox:
                if not self._unsent:
                    self._send_next()
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
                self._drop_outbox()  # nobody reads any more; what was sent to us before may still wait
                self._is_broken = True
        else:
            if self._waits_for_room:
                self._waits_for_room = False
                if self._loop is not None:
                    self._loop.remove_writer(self._sock.fileno())

    def _send_next(self) -> None:
        """Sends what stands first: one frame with descriptors, or as many others as are joined."""
        outbox = self._outbox
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
        parts: list[bytes] = []
        size = 0
        while outbox and size < _JOIN_SIZE:
            frame = outbox[0]
            if isinstance(frame, WithDescriptors):
                break
            outbox.popleft()
            data = frame if isinstance(frame, bytes) else frame.render()
            parts.append(data)
            size += len(data)
        self._unsent = b"".join(parts) if len(parts) > 1 else parts[0]
        sent = self._sock.send(self._unsent)
        self._unsent = self._unsent[sent:] if sent < size else b""

    def _wait_for_room(self) -> None:
        if not self._waits_for_room and self._loop is not None:
            self._waits_for_room = True
            self._loop.add_writer(self._sock.fileno(), self._flush)

    def _on_refused(self) -> None:
        """Too many descriptors are in flight; some will be read soon. That the socket has room says nothing."""
        first = self._outbox[0]
        assert isinstance(first, WithDescriptors)
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
            logger.warning("descriptors have to wait: too many are in flight (ETOOMANYREFS, RLIMIT_NOFILE)")
        elif now - self._refused_since > _REFUSED_FOR and (first.otherwise is not None or self._loop is None):
            self._outbox.popleft()
            if first.otherwise is not None:
                self._outbox.appendleft(first.otherwise())
            if first.release is not None:
                first.release()
            self._schedule()
            return
        if self._loop is None:
            time.sleep(_RETRY_DELAY)
            return
        self._loop.remove_writer(self._sock.fileno())
        self._waits_for_room = True
        self._loop.call_later(_RETRY_DELAY, self._has_room)

    def _has_room(self) -> None:
        self._waits_for_room = False
        if not self.is_closed:
            self._flush()

    # ---- in

    def _on_readable(self) -> None:
        self._flush_is_due = True  # replies of this turn leave at its end, here
        for _ in range(_READS_PER_TURN):
            if not self._read_once():
                break
        if self._flush_is_due and not self.is_closed:
            if self._waits_for_room:
                self._flush_is_due = False
            else:
                self._flush()

    def read_blocking(self) -> bool:
        """Waits for bytes and hands their frames on; False once the channel is closed. For a process without a loop."""
        self._sock.setblocking(True)
        try:
            self._read_once()
        finally:
            if not self.is_closed:
                self._sock.setblocking(False)
        return not self.is_closed

    def _read_once(self) -> bool | None:
        """One system call. Returns whether another one is likely to find more; None if it found nothing at all."""
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(_READ_SIZE, ANCILLARY_SIZE, RECEIVE_FLAGS)
        except BlockingIOError:
            return None
        except OSError:
            data, ancillary, flags = b"", [], 0  # the other end was killed with bytes of ours unread
        has_descriptors = bool(ancillary or flags & CTRUNC)
        if has_descriptors:
            self._arrived.append(received(ancillary))
        if not data:
            self._end(None)
            return False
        has_failed = False
        try:
            for frame in self._decoder.feed(data):
                try:
                    self._receive(frame, self._take_descriptors)
                except ProtocolError:
                    raise
                except Exception:  # our own fault, which costs this frame and nothing else
                    logger.exception("a frame of kind %s could not be handled", frame[0])
                    has_failed = True
                if self.is_closed:
                    return False
        except ProtocolError as error:
            self._end(error)
            return False
        if len(self._arrived) > (1 if self._decoder.buffered else 0):
            if not has_failed:
                self._end(ProtocolError("descriptors came with a frame that names none"))
                return False
            self._arrived.popleft().close()  # of the frame that failed
        return has_descriptors or len(data) == _READ_SIZE

    def _take_descriptors(self) -> Descriptors:
        if not self._arrived:
            raise ProtocolError("a frame names descriptors that did not come")
        return self._arrived.popleft()

    # ---- the end

    def finish(self) -> None:
        """The other process has ended: reads what it left and closes, as if the end had been read."""
        while not self.is_closed:
            if self._read_once() is None:  # a child of that process still holds its end
                self._end(None)

    def abandon(self) -> None:
        """This process is a fork of the one the channel belongs to: closes its copy, and touches no loop."""
        self._loop = None
        self._sock.close()
        self.close()

    def close(self) -> None:
        """Closes it from this side: what is queued is dropped, and ``closed`` is not called. Idempotent."""
        self._closed = _nothing
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
        self._hang_up()
        self._drop_outbox()
        for descriptors in self._arrived:
            descriptors.close()
        self._arrived.clear()
        closed, self._closed, self._receive = self._closed, _nothing, _nothing
        closed(error)

    def _hang_up(self) -> None:
        """Closes the socket with nothing left unread in it.

        Unread bytes would reset the other end, and of a reset that comes together with bytes uvloop tells only once.
        """
        try:
            self._sock.shutdown(socket.SHUT_RD)
            while self._sock.recv(_READ_SIZE, socket.MSG_DONTWAIT):
                pass
        except OSError:
            pass
        self._sock.close()

    def _drop_first(self) -> None:
        """The next frame's descriptors have been closed under it: it can't be sent any more, the others can."""
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
