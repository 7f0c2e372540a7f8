"""`LogWriter`: a thread that hands the workers' log records to this process's own loggers, which may block.

So a slow disk does not hold up the event loop. What waits is bounded: `Side` reads no more from a worker whose records
wait, and then the worker's own calls wait.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple

from .._wire.codec import unpack

logger = logging.getLogger("aiocluster.logs")

_MOST_LOGGERS = 10_000  # names that workers may use. A security limit: loggers are never freed
_ENDS_WITHIN = 10.0  # seconds for what still waits at the end


class Source(NamedTuple):
    """Who has sent records.

    Attributes:
        whom: In words.
        pid: Its process id.
        slot: Its slot; None for an agent.
        agent: An agent's name.
        written: Called in the thread with the bytes that wait no more.
    """

    whom: str
    pid: int
    slot: int | None
    agent: str | None
    written: Callable[[int], None]


class LogWriter:
    """Hands records to the loggers of this process. Its thread starts with the first record."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Source, int, bytes] | None] = SimpleQueue()  # None: the thread is to end
        self._thread: threading.Thread | None = None
        self._names: set[str] = set()

    def put(self, source: Source, lost: int, body: bytes) -> None:
        """Has a record written.

        Args:
            source: Who has sent it.
            lost: How many could not be sent before it.
            body: The record, packed.
        """
        self._waiting.put((source, lost, body))
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="aiocluster-logs", daemon=True)
            thread.start()  # if there is no room for it now, the next record tries again
            self._thread = thread

    async def close(self) -> None:
        """Returns when all has been written, or after 10 seconds. The next record starts another thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            await asyncio.to_thread(thread.join, _ENDS_WITHIN)
            if thread.is_alive():
                logger.error("%d log records of workers were not written: a handler blocks", self._waiting.qsize() - 1)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the main thread has the handlers
        while (waiting := self._waiting.get()) is not None:
            source, lost, body = waiting
            try:
                self._write(source, lost, body)
            except Exception:
                logger.exception("a log record of %s could not be written", source.whom)
            source.written(len(body))

    def _write(self, source: Source, lost: int, body: bytes) -> None:
        if lost:
            logger.error("%d log records of %s are missing: this process did not read them in time", lost, source.whom)
        record = _record(unpack(body))
        if record is None:
            logger.error("%s has sent what is no log record", source.whom)
            return
        record.process, record.slot, record.agent = source.pid, source.slot, source.agent
        if record.name not in self._names:
            if len(self._names) >= _MOST_LOGGERS:
                record.name = logger.name
            self._names.add(record.name)
        own = logging.getLogger(record.name)
        if own.isEnabledFor(record.levelno):
            own.handle(record)


def _record(fields: Any) -> logging.LogRecord | None:
    """Returns the record with these attributes, which a worker has sent; None if they are none."""
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        return None
    record = logging.makeLogRecord({**fields, "args": None, "exc_info": None})
    texts = (record.name, record.msg, record.levelname, record.pathname, record.filename)
    numbers = (record.levelno, record.lineno, record.created, record.msecs)
    if not all(isinstance(text, str) for text in texts) or not all(type(one) in (int, float) for one in numbers):
        return None
    if not all(isinstance(text, (str, type(None))) for text in (record.exc_text, record.stack_info)):
        return None
    return record
