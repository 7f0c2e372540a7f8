"""`Side`: the worker's end of the side channel, which works while the event loop is blocked.

::

    primary ── Inspect ──▶ the thread that waits for the primary's end ─▶ a thread that looks, and answers
            ◀─ Slow, Inspected ── any thread
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from .._wire import frames
from .._wire.codec import Decoder, pack
from .._wire.frame import Dispatch, Frame, on
from ..errors import ProtocolError
from .thread import start_thread

if TYPE_CHECKING:
    from .._wire.descriptors import Descriptors
    from .session import Session

_ROOM_WITHIN = 5.0  # seconds
_READ_SIZE = 4096  # the primary asks seldom, and in a few bytes


class Side:
    """The worker's end of the side channel.

    Args:
        fd: Its descriptor, which this object then owns; None: the process had no room for it, so there is none.

    Attributes:
        session: The worker that questions are about.
        is_open: Whether the primary may hear it.
    """

    session: Session

    def __init__(self, fd: int | None) -> None:
        self._socket = None if fd is None else socket.socket(fileno=fd)
        self.is_open: bool = fd is not None
        self._decoder = Decoder()
        self._dispatch = Dispatch(frames.PRIMARY, [on(frames.Inspect, self._on_inspect)])
        self._lock = threading.RLock()  # held by the thread that sends
        self._is_sending = False
        self._after: list[bytes] = []  # frames that the sending thread was given meanwhile
        self._rest = bytearray()  # of a frame that there was no room for
        self._is_stuck = False  # the primary does not read

    def fileno(self) -> int:
        """The descriptor; -1 if there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def tell(self, frame: Frame) -> bool:
        """Sends the primary a frame, from any thread: when this returns, the kernel has it.

        Waits for room, but not for ever. If the primary has read nothing for that long, later frames don't wait until
        it reads again.

        Returns:
            Whether it was sent. False if the primary has gone, too.
        """
        data = frame.encode()
        with self._lock:
            if self._is_sending:  # by this thread: what it called has been interrupted, or has itself something to tell
                self._after.append(data)
                return True
            self._is_sending = True
            try:
                is_sent = self._send(data)
                while self._after:
                    self._send(self._after.pop(0))
                return is_sent
            finally:
                self._is_sending = False

    def _send(self, data: bytes) -> bool:
        """Sends a frame whole, or the rest of it later, or not at all."""
        if self._socket is None or not self.is_open:
            return False
        self._rest += data  # all of it: a signal handler may raise at any moment
        try:
            self._send_rest(self._socket)
        except OSError:
            self.is_open = False
            return False
        self._is_stuck = bool(self._rest)
        is_begun = len(self._rest) < len(data)
        if not is_begun:
            del self._rest[-len(data) :]
        return is_begun

    def _send_rest(self, sock: socket.socket) -> None:
        """Sends what there is room for in time."""
        deadline = time.monotonic() + (0.0 if self._is_stuck else _ROOM_WITHIN)
        while self._rest:
            try:
                del self._rest[: sock.send(self._rest, socket.MSG_DONTWAIT)]
            except BlockingIOError:
                poll = select.poll()
                poll.register(sock, select.POLLOUT)
                if not poll.poll(1000 * max(0.0, deadline - time.monotonic())):
                    break

    def read(self) -> bool:
        """Reads what there is, and has it answered. Returns whether there may be more."""
        assert self._socket is not None
        try:
            data = self._socket.recv(_READ_SIZE)
            for frame in self._decoder.feed(data):
                self._dispatch(frame, _none)
        except (OSError, ProtocolError):
            return False
        return bool(data)

    def abandon(self) -> None:
        """Closes the copy in a forked child of this process."""
        self._lock = threading.RLock()  # a thread of the parent may have held the other one
        self.is_open = self._is_sending = False
        if self._socket is not None:
            os.close(self._socket.detach())
            self._socket = None

    def _on_inspect(self, frame: frames.Inspect) -> None:
        def look() -> None:
            from .inspection import answer  # only those that are looked into need it

            for part in answer(self.session, frame):
                self.tell(part)

        try:
            start_thread("aiocluster-inspection", look)
        except RuntimeError as error:  # this thread goes on: it ends the process with the primary
            self.tell(frames.Inspected(frame.number, pack({"error": f"there is no room for a thread: {error}"}), True))


def _none() -> Descriptors:
    raise ProtocolError("no frame on a side channel has descriptors")
