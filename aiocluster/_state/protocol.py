"""What travels between the state's process and its clients: operations, results, and what a client listens for. Pure.

::

    client ──[OPERATIONS, [[GET, "a"], [INCR, "n", 1, None], …]]──▶ server     all operations of one turn of the loop
           ◀─[RESULTS, [b"…", 7, …]]──────────────────────────────            in the order of the operations
           ◀─[CHANGES, [["a", b"…"], ["b", None], …]]──────────────            of all prefixes that it watches
           ◀─[FREED, "report"]─────────────────────────────────────            a lock for which it waits

A large value travels before its operation, in parts, so that no frame to the server is long: the server unpacks what
any worker sends it.
"""

from __future__ import annotations

from typing import Final

from .._wire.codec import encode

OPERATIONS: Final = 1
LARGE: Final = 2
"""One operation. None in place of a value means one that has come in parts."""
PART: Final = 3
"""[PART, bytes, is_last]: a part of a value."""
RESULTS: Final = 4
FAILURE: Final = 5
"""[FAILURE, kind, text]: the next operation has failed. ``kind`` is a key of `ERRORS`, or `ENGINE`."""
CHANGES: Final = 6
FREED: Final = 7
LISTEN: Final = 8
"""[LISTEN, kind, name]: an operation that says what the client listens for. ``kind`` is one of `LISTENS`."""

GET: Final = 1
SET: Final = 2
DELETE: Final = 3
INCR: Final = 4
REPLACE: Final = 5
GET_MANY: Final = 6
KEYS: Final = 7
ACQUIRE: Final = 8
RENEW: Final = 9
RELEASE: Final = 10
WATCH: Final = 11
UNWATCH: Final = 12
WATCH_LOCK: Final = 13
UNWATCH_LOCK: Final = 14

LISTENS: Final = frozenset({WATCH, UNWATCH, WATCH_LOCK, UNWATCH_LOCK})
LARGE_VALUES: Final = {SET: (2,), REPLACE: (2, 3)}
"""Where an operation has values that may come in parts."""

ERRORS: Final[dict[str, type[Exception]]] = {"type": TypeError, "overflow": OverflowError}
"""What an operation may raise. Any other failure is the engine's own: nothing was done."""

ENGINE: Final = "engine"

MAX_PART: Final = 64 * 1024
"""Bytes of a value above which it travels in parts, and the most that a part has."""

MAX_BATCH: Final = 32 * 1024
"""Bytes of operations from which on they leave before the end of the loop's turn."""

PAGE: Final = 1024 * 1024
"""Bytes of a result from which on the rest is left out, to be asked for again; and of results in one frame."""

MAX_KEYS: Final = 64
"""The most keys of one `GET_MANY`."""


def parts(value: bytes) -> list[bytes]:
    """The frames of a large value."""
    view = memoryview(value)
    ends = range(MAX_PART, len(value) + MAX_PART, MAX_PART)
    return [encode(PART, bytes(view[end - MAX_PART : end]), end >= len(value)) for end in ends]
