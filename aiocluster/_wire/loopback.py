"""A channel within one process: what one end sends, the other end receives in the loop's next iteration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from .channel import Delayed
from .codec import Decoder, RawFrame

logger = logging.getLogger("aiocluster.channel")

_LATER = 0.005  # seconds, as in `Channel`


class Loopback:
    """One end of it, with what flows need of a `Channel`.

    Args:
        loop: The event loop of both ends.
        receive: Called with each frame that this end hears.

    Attributes:
        other: The other end.
        is_closed: Whether it is closed.
        hears_one: Never: a frame that is sent alone has no system call to save.
        is_looked_after: Always: there is nobody whom a thread could send to while this process's loop is blocked.
        loop: The event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[RawFrame], None]) -> None:
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.is_closed: bool = False
        self.hears_one: bool = False
        self.is_looked_after: bool = True
        self.other: Loopback | None = None
        self._loop = loop
        self._receive = receive
        self._outbox: list[bytes | Delayed] = []
        self._decoder = Decoder()
        self._later: list[Callable[[], None]] = []

    @classmethod
    def pair(
        cls, loop: asyncio.AbstractEventLoop, one: Callable[[RawFrame], None], other: Callable[[RawFrame], None]
    ) -> tuple[Loopback, Loopback]:
        """Two ends, whose frames these functions receive."""
        here, there = cls(loop, one), cls(loop, other)
        here.other, there.other = there, here
        return here, there

    def send(
        self,
        frame: bytes | Delayed,
        descriptors: Sequence[int] = (),
        release: Callable[[], None] | None = None,
        otherwise: Callable[[], bytes] | None = None,
    ) -> None:
        """Queues a frame. There are none with descriptors."""
        assert not descriptors
        if not self._outbox:
            self._loop.call_soon(self.flush)
        self._outbox.append(frame)

    def send_alone(self, frame: bytes) -> None:
        """Like `send`."""
        self.send(frame)

    def flush(self) -> None:
        """Has the other end receive what is queued, at once."""
        outbox, self._outbox = self._outbox, []
        if self.is_closed or self.other is None or not outbox:
            return
        other = self.other
        data = b"".join([frame if isinstance(frame, bytes) else frame.render() for frame in outbox])
        for received in other._decoder.feed(data):
            try:
                other._receive(received)
            except Exception:
                logger.exception("a frame of kind %s could not be handled", received[0])

    def look_after(self) -> None:
        """Nothing to do."""

    def later(self, callback: Callable[[], None]) -> None:
        """Calls this in a few milliseconds."""
        if not self._later:
            self._loop.call_later(_LATER, self._call_later)
        self._later.append(callback)

    def hurry(self) -> None:
        """Runs the callbacks given to `later` in the loop's next iteration."""
        self._loop.call_soon(self._call_later)

    def _call_later(self) -> None:
        callbacks, self._later = self._later, []
        for callback in callbacks:
            callback()

    def close(self) -> None:
        """Closes both ends. What is queued is dropped."""
        for end in (self, self.other):
            if end is not None:
                end.is_closed = True
                end._outbox.clear()
