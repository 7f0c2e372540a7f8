"""`Side`: the primary's end of a worker's side channel, which the worker's threads serve.

So it works while the worker's event loop is blocked.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import socket
import threading
import time
from collections.abc import Callable

from .._wire import frames
from .._wire.channel import Channel
from .._wire.codec import MAX_FRAME_OF_PEER
from .._wire.frame import Dispatch, on
from ..errors import ClusterError, ProtocolError
from ..stats import SlowLoop
from .log_writer import LogWriter, Source

logger = logging.getLogger("aiocluster.primary")

_ANSWERS_WITHIN = 5.0  # seconds, beside those that a look takes
_LONGEST = 16 * 1024 * 1024  # bytes of an answer. A security limit: a worker could send for ever
_UNWRITTEN = 256 * 1024  # bytes of log records that may wait; then no more are read
_LONGEST_PLACE = 500  # characters


class Side:
    """The primary's end of a worker's side channel.

    Args:
        sock: Its socket, which this object then owns.
        whom: The worker, for texts.
        slow: Called when the worker's loop has been found blocked.
        ran_again: Called when it runs again, with how long it was.
        logs: Writes its log records.
        place: Its slot, or an agent's name.
        pid: Its process id.

    Attributes:
        times: How often its loop has been found blocked.
        last: The last time.
    """

    def __init__(
        self,
        sock: socket.socket,
        whom: str,
        slow: Callable[[SlowLoop], None],
        ran_again: Callable[[SlowLoop], None],
        logs: LogWriter,
        place: int | str,
        pid: int,
    ) -> None:
        self.times: int = 0
        self.last: SlowLoop | None = None
        self._whom = whom
        self._slow = slow
        self._ran_again = ran_again
        self._logs = logs
        slot, agent = (place, None) if isinstance(place, int) else (None, place)
        self._source = Source(whom, pid, slot, agent, self._on_written)
        self._unwritten = 0  # bytes
        self._lock = threading.Lock()  # of that number
        self._is_paused = False
        self._numbers = itertools.count(1)
        self._parts: dict[int, bytearray] = {}
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._channel = Channel(sock, limit=MAX_FRAME_OF_PEER)
        dispatch = Dispatch(
            frames.WORKER,
            [
                on(frames.Slow, self._on_slow),
                on(frames.SlowEnded, self._on_slow_ended),
                on(frames.Inspected, self._on_inspected),
                on(frames.LogRecord, self._on_log_record),
            ],
        )
        self._loop = asyncio.get_running_loop()
        self._channel.attach(self._loop, dispatch, self._on_end)

    def finish(self) -> None:
        """The process has ended: reads what it has sent, and closes this end."""
        self._channel.finish()

    async def inspect(self, what: str, seconds: float = 0.0, rate: float = 0.0) -> bytes:
        """Looks inside; see `frames.Inspect`.

        Args:
            what: ``tasks``, ``stacks`` or ``profile``.
            seconds: How long a profile is to take.
            rate: How often it looks, in a second.

        Returns:
            A packed dict.

        Raises:
            ClusterError: The worker does not answer, or has ended. The text does not name it.
        """
        if self._channel.is_closed:
            raise ClusterError("it has no side channel any more: it has ended, or had no descriptor for it")
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._parts[number] = bytearray()
        try:
            self._channel.send(frames.Inspect(number, what, float(seconds), float(rate)).encode())
            async with asyncio.timeout(seconds + _ANSWERS_WITHIN):
                return await answer
        except TimeoutError:
            raise ClusterError(
                f"it does not answer: it is stopped, or code in C has held its interpreter for {_ANSWERS_WITHIN:g} s "
                f"(py-spy dump --native --pid {self._source.pid} shows it)"
            ) from None
        finally:
            del self._answers[number], self._parts[number]

    def _on_slow(self, frame: frames.Slow) -> None:
        if not 0 <= frame.seconds < math.inf:
            raise ProtocolError(f"impossible numbers: {frame}")
        where = "".join(letter if letter.isprintable() else "?" for letter in frame.where[:_LONGEST_PLACE])
        self.times += 1
        self.last = SlowLoop(float(frame.seconds), where, time.time())
        self._slow(self.last)

    def _on_slow_ended(self, frame: frames.SlowEnded) -> None:
        if self.last is None or not 0 <= frame.seconds < math.inf:
            raise ProtocolError(f"impossible numbers: {frame}")
        self.last = SlowLoop(float(frame.seconds), self.last.where, self.last.at)
        self._ran_again(self.last)

    def _on_inspected(self, frame: frames.Inspected) -> None:
        parts, answer = self._parts.get(frame.number), self._answers.get(frame.number)
        if parts is None or answer is None or answer.done():
            return  # too late
        parts += frame.part
        if len(parts) > _LONGEST:
            raise ProtocolError(f"an answer has more than {_LONGEST} bytes")
        if frame.is_last:
            answer.set_result(bytes(parts))

    def _on_log_record(self, frame: frames.LogRecord) -> None:
        with self._lock:
            self._unwritten += len(frame.body)
            is_much = self._unwritten > _UNWRITTEN
        if is_much and not self._is_paused:
            self._is_paused = True
            self._channel.pause()
        self._logs.put(self._source, frame.lost, frame.body)

    def _on_written(self, size: int) -> None:
        """Called in the thread that writes."""
        with self._lock:
            self._unwritten -= size
        if self._is_paused and self._unwritten < _UNWRITTEN // 2:
            try:
                self._loop.call_soon_threadsafe(self._resume)
            except RuntimeError:
                pass  # the loop has been closed: the cluster is over

    def _resume(self) -> None:
        if self._is_paused and self._unwritten < _UNWRITTEN:
            self._is_paused = False
            self._channel.resume()

    def _on_end(self, error: Exception | None) -> None:
        if error is not None:
            logger.error("the side channel of %s is closed: %s", self._whom, error)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ClusterError("it has ended"))
