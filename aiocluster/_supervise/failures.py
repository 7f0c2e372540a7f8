"""Why processes failed, in words: for the errors that are raised, and for the log, which has each traceback once."""

from __future__ import annotations

import logging
import signal
from collections import deque
from dataclasses import dataclass

from .._primary.forkserver import ForkServerError
from .._primary.worker_process import WorkerProcess
from ..errors import ClusterError, StartupError, TargetError
from .process import Process
from .restart import is_shortage

logger = logging.getLogger("aiocluster.cluster")

_REMEMBERED = 10  # different details: workers may fail in different ways by turns
_TARGET_ERROR = f"{TargetError.__module__}.{TargetError.__qualname__}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a start failed.

    Attributes:
        line: What happened.
        details: The worker's traceback, or the end of its stderr; "" if there is neither.
        error: What a caller who waits for the start is told. Its text has the details, unless every other start would
            fail in the same way.
        is_shortage: Whether only descriptors, memory or processes were lacking.
    """

    line: str
    details: str
    error: Exception
    is_shortage: bool = False


class Failures:
    """Logs why processes failed."""

    def __init__(self) -> None:
        self._told: deque[str] = deque(maxlen=_REMEMBERED)

    def tell(self, failure: Failure) -> None:
        """Logs a failure; its details only if they have not been logged lately."""
        if failure.is_shortage:
            logger.warning("%s; it is tried again until it works", failure.line)
        elif self.knows(failure.details):
            logger.error("%s, as before", failure.line, extra={"is_event": True})
        else:
            self._told.append(failure.details)
            is_refused = getattr(failure.error, "_refused", None) is not None
            text = _joined(failure.line, failure.details)
            logger.error("%s", text, exc_info=_unexpected(failure.error), extra={"is_refused": is_refused})

    def knows(self, details: str) -> bool:
        """Whether these details have been logged lately."""
        return bool(details) and details in self._told

    def forget(self) -> None:
        """Has everything logged anew, because the code may have changed."""
        self._told.clear()


def why_failed(process: Process, start_timeout: float) -> Failure:
    """Returns why a process ended before it could do its slot's work."""
    worker = process.worker
    if worker is None:
        return _why_not_forked(process)
    what = "listening where its predecessor listens" if process.is_online else "online"
    if signal.SIGKILL in process.signals:
        line = f"worker {worker.id} (pid {worker.pid}) was not {what} within {start_timeout:g} seconds (start_timeout)"
    else:
        line = f"worker {worker.id} (pid {worker.pid}) ended before it was {what}, by {worker._session.exit_status}"
    details = worker._session.last_words
    if process.is_first and worker._session.repeats is not None:
        return why_in_vain(worker)
    return Failure(line, details, StartupError(_joined(line, details)))


def why_in_vain(worker: WorkerProcess) -> Failure:
    """Returns why a worker failed if every other one would fail in the same way. The error has one line."""
    session = worker._session
    who = f"worker {worker.id} (pid {worker.pid})"
    if session.failure is not None and session.failure.type_name == _TARGET_ERROR:
        return Failure(f"{who} has no target", "", TargetError(session.repeats))
    error = _in_vain(f"{who} can't start: {session.repeats}", session.refused)
    return Failure(f"{who} has failed", session.last_words, error)


def _why_not_forked(process: Process) -> Failure:
    error = process.fork_error or StartupError("a worker could not be forked")
    if isinstance(error, ForkServerError):
        if error.type_name == _TARGET_ERROR and process.is_first:
            return Failure(error.line, "", TargetError(error.repeats))
        if error.repeats is not None and process.is_first:
            return Failure(error.line, error.details, _in_vain(f"the fork server can't start: {error.repeats}"))
        return Failure(error.line, error.details, StartupError(str(error)))
    if isinstance(error, ClusterError):
        line, _, details = str(error).partition("\n")
        return Failure(line, details.strip(), error)
    line = f"no worker can be started: {error if isinstance(error, OSError) else repr(error)}"
    told = StartupError(line)
    told.__cause__ = error
    return Failure(line, "", told, is_shortage(error))


def _in_vain(text: str, refused: tuple[int, str | None] | None = None) -> StartupError:
    error = StartupError(text)
    error._is_in_vain = True
    error._refused = refused
    return error


def last_words(process: Process, start_timeout: float) -> str:
    """Returns how a process ended that ended once too often."""
    worker = process.worker
    if worker is None:
        return str(why_failed(process, start_timeout).error)
    session = worker._session
    if session.failure is not None:
        return str(session.failure)
    if session.exit_status.code == 0:
        return f"worker {worker.id}: its target returned; a worker runs for as long as its target does"
    return _joined(f"worker {worker.id} ended by {session.exit_status}", session.last_words)


def _joined(line: str, details: str) -> str:
    return f"{line}\n\n{details}" if details else line


def _unexpected(error: Exception) -> BaseException | None:
    """Returns the error whose traceback helps: one that is neither ours nor the system's."""
    cause = error.__cause__
    return cause if not isinstance(error, OSError) and not isinstance(cause, OSError) else None
