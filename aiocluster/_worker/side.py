"""`Side`: the worker's end of the side channel, which works while the event loop is blocked.

::

    primary ── Inspect ──▶ the thread that waits for the primary's end ─▶ a thread that looks, and answers
            ◀─ Slow, Inspected ── any thread
"""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

from .._wire import frames
from .._wire.codec import Decoder
from .._wire.frame import Dispatch, Frame, on
from ..errors import ProtocolError
from .thread import start_thread

if TYPE_CHECKING:
    from .._wire.descriptors import Descriptors
    from .session import Session

_READ_SIZE = 4096  # the primary asks seldom, and in a few bytes


class Side:
    """The worker's end of the side channel.

    Args:
        fd: Its descriptor, which this object then owns; None: the process had no room for it, so there is none.

    Attributes:
        session: The worker that questions are about.
    """

    session: Session

    def __init__(self, fd: int | None) -> None:
        self._socket = None if fd is None else socket.socket(fileno=fd)
        self._decoder = Decoder()
        self._dispatch = Dispatch(frames.PRIMARY, [on(frames.Inspect, self._on_inspect)])
        self._lock = threading.Lock()  # held by the thread that sends

    def fileno(self) -> int:
        """The descriptor; -1 if there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def tell(self, frame: Frame) -> None:
        """Sends the primary a frame, from any thread. Waits for room. Does nothing once the primary has gone."""
        data = frame.encode()
        with self._lock:
            if self._socket is None:
                return
            try:
                self._socket.sendall(data)
            except OSError:
                pass

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
        self._lock = threading.Lock()  # a thread of the parent may have held the other one
        if self._socket is not None:
            os.close(self._socket.detach())
            self._socket = None

    def _on_inspect(self, frame: frames.Inspect) -> None:
        def look() -> None:
            from .inspection import answer  # only those that are looked into need it

            for part in answer(self.session, frame):
                self.tell(part)

        start_thread("aiocluster-inspection", look)


def _none() -> Descriptors:
    raise ProtocolError("no frame on a side channel has descriptors")
