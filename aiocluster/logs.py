"""One log for all workers: `Handler` sends records to the primary, which writes them.

Several processes that write one rotating file with `logging.handlers` rotate it under each other's feet, and lose
lines. With this handler in the workers, the primary alone has the file. It hands each record to its own logger of the
same name, so its own configuration decides where it goes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from ._wire.codec import pack
from ._wire.frames import LogRecord
from ._worker.current import own_session
from .errors import MessageTooLargeError, SerializationError

_LONGEST: Final = 50_000  # bytes of a text
_LONGEST_EXTRA: Final = 1_000  # bytes of the text of an attribute that is not plain
_LARGEST: Final = 200_000  # bytes of a record; the primary accepts a little more in a frame
_LEFT_OUT: Final = frozenset({"args", "asctime", "exc_info", "is_event", "message"})
_TEXTS: Final = ("msg", "exc_text", "stack_info")

_USUAL: Final = frozenset(vars(logging.makeLogRecord({})))

_formatter: Final = logging.Formatter()


class Handler(logging.Handler):
    """In a worker, sends records to the primary, for its logger of the same name.

    Records of one worker keep their order. A record has been handed to the kernel when the call that logs it returns:
    none is lost at a worker's end, not even if it is killed. If the primary has read none for 5 seconds, because its
    own handlers block, records are dropped and counted until it goes on, and its log says how many were.

    A record travels as its text: ``args`` are formatted, a traceback is text, and attributes that msgpack can't carry
    are their ``repr``. Texts are cut after 50,000 bytes. In the primary it also has ``slot`` (an int; None for an
    agent) and ``agent`` (its name, or None).

    In a process that is no worker, or whose primary has ended, records go to `logging.lastResort`, which writes
    warnings to stderr.
    """

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record."""
        session = own_session()
        if session is not None and session.side.is_open:
            try:
                if session.side.tell(LogRecord(self._lost, _packed(record))):
                    self._lost = 0
                    return
            except Exception:
                self.handleError(record)
                return
            if session.side.is_open:  # it is read too slowly
                self._lost += 1
                return
        if logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)


def config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a `logging.config.dictConfig` for this process, from the one for the whole application.

    In the primary, and where there is no cluster, it is the same. In a worker, each logger has a `Handler` in place of
    its own handlers, so that one call serves all processes:
    ``logging.config.dictConfig(aiocluster.logs.config(LOGGING))``.
    """
    found = dict(settings)
    if own_session() is None:
        return found

    def sending(logger: Mapping[str, Any]) -> dict[str, Any]:
        return {**logger, "handlers": ["aiocluster"]} if logger.get("handlers") else dict(logger)

    found["handlers"] = {"aiocluster": {"class": f"{Handler.__module__}.{Handler.__qualname__}"}}
    found["loggers"] = {name: sending(logger) for name, logger in settings.get("loggers", {}).items()}
    if "root" in settings:
        found["root"] = sending(settings["root"])
    found.pop("formatters", None)
    return found


def _packed(record: logging.LogRecord) -> bytes:
    fields = {name: value for name, value in vars(record).items() if name not in _LEFT_OUT}
    fields["msg"] = record.getMessage()
    if record.exc_info and not record.exc_text:
        fields["exc_text"] = _formatter.formatException(record.exc_info)
    for name in _TEXTS:
        if fields.get(name) is not None:
            fields[name] = _cut(str(fields[name]), _LONGEST)
    try:
        body = pack(fields)
        if len(body) <= _LARGEST:
            return body
    except (SerializationError, MessageTooLargeError):
        pass
    fields = {name: value if name in _TEXTS or _is_short(value) else _plain(value) for name, value in fields.items()}
    body = pack(fields)
    return body if len(body) <= _LARGEST else pack({name: fields[name] for name in _USUAL if name in fields})


def _is_short(value: Any) -> bool:
    try:
        return len(pack(value)) <= _LONGEST_EXTRA
    except (SerializationError, MessageTooLargeError):
        return False


def _plain(value: Any) -> str:
    """Returns it as a short text."""
    if not isinstance(value, str):
        try:
            value = repr(value)
        except Exception as error:  # it must not cost the record
            value = f"{type(value).__qualname__} without repr: {type(error).__name__}"
    return _cut(value, _LONGEST_EXTRA)


def _cut(text: str, longest: int) -> str:
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= longest:
        return data.decode()
    return f"{data[:longest].decode('utf-8', 'ignore')}… ({len(data) - longest} bytes more)"
