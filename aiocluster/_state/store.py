"""What keeps the state in its process, and how operations reach it. Pure, but for what a store itself does."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final, Protocol

import msgpack

from .._wire.codec import encode
from ..errors import ProtocolError
from . import protocol
from .engine import Changed
from .protocol import ERRORS, FAILURE, PAGE, RESULTS

MAX_PAGE: Final = 8192
"""The most keys that `Store.keys` returns at once."""

_INT_64: Final = range(-(2**63), 2**63)


@dataclass(slots=True)
class News:
    """What others want to know of what a store has done.

    Attributes:
        changes: The keys that have changed, in order.
        freed: The locks that have become free.
    """

    changes: list[Changed] = field(default_factory=list)
    freed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes or self.freed)


class Store(Protocol):
    """Keeps keys, values and locks. ``now`` is the time on a clock of its own.

    Attributes:
        news: What has happened since it was last taken from there.
        is_watched: Whether changes are to be in the news.
    """

    news: News
    is_watched: bool

    def get(self, now: float, key: str) -> bytes | None: ...

    def set(self, now: float, key: str, value: bytes, ttl: float | None, if_absent: bool) -> bool: ...

    def delete(self, now: float, key: str) -> bool: ...

    def incr(self, now: float, key: str, by: int, ttl: float | None) -> int: ...

    def replace(self, now: float, key: str, expected: bytes, value: bytes) -> bool: ...

    def keys(self, now: float, prefix: str, after: str | None) -> list[str]:
        """Returns keys in order, after the one that is given. If it returns `MAX_PAGE`, there may be more."""
        ...

    def acquire(self, now: float, name: str, owner: str, ttl: float) -> int | None: ...

    def renew(self, now: float, name: str, owner: str, ttl: float) -> bool: ...

    def release(self, now: float, name: str, owner: str) -> bool: ...

    def expire(self, now: float) -> None:
        """Removes what has expired."""
        ...

    @property
    def next_expiry(self) -> float | None:
        """When `expire` may have something to do next; None: nothing expires."""
        ...


def added(body: bytes | None, by: int, key: str) -> int:
    """The sum of a packed int and another one; what is not there counts as 0.

    Raises:
        TypeError: It is no int.
        OverflowError: The sum has more than 64 bits.
    """
    if body is None:
        total = by
    elif len(body) > 9 or type(value := msgpack.unpackb(body)) is not int:  # no int is longer
        raise TypeError(f"the value of {key!r} is no int, so nothing can be added to it")
    else:
        total = value + by
    if total not in _INT_64:
        raise OverflowError(f"{key!r} would be {total}, which has more than 64 bits; it has not changed")
    return total


def take_news(store: Store) -> News:
    """What has happened since this was last called."""
    news = store.news
    if news:
        store.news = News()
    return news


# ---- operations


def _get_many(store: Store, now: float, keys: list[Any]) -> list[bytes | None]:
    """The values of the first keys: of as many as a result holds, and one at least."""
    if not set(map(type, keys)) <= {str}:
        raise ProtocolError("a key is no str")
    values: list[bytes | None] = []
    size = 0
    for key in keys:
        values.append(value := store.get(now, key))
        size += 0 if value is None else len(value)
        if size > PAGE:
            break
    return values


def _nothing(store: Store, now: float, *of: str) -> None:
    """The server itself knows who listens."""


_Perform = Callable[..., Any]

_PERFORM: dict[int, _Perform] = {
    protocol.GET: lambda store, now, *of: store.get(now, *of),
    protocol.SET: lambda store, now, *of: store.set(now, *of),
    protocol.DELETE: lambda store, now, *of: store.delete(now, *of),
    protocol.INCR: lambda store, now, *of: store.incr(now, *of),
    protocol.REPLACE: lambda store, now, *of: store.replace(now, *of),
    protocol.GET_MANY: _get_many,
    protocol.KEYS: lambda store, now, *of: store.keys(now, *of),
    protocol.ACQUIRE: lambda store, now, *of: store.acquire(now, *of),
    protocol.RENEW: lambda store, now, *of: store.renew(now, *of),
    protocol.RELEASE: lambda store, now, *of: store.release(now, *of),
    **dict.fromkeys((protocol.WATCH, protocol.UNWATCH, protocol.WATCH_LOCK, protocol.UNWATCH_LOCK), _nothing),
}

_TYPES: dict[tuple[type, ...], tuple[int, ...]] = {
    (int, str): (
        protocol.GET,
        protocol.DELETE,
        protocol.WATCH,
        protocol.UNWATCH,
        protocol.WATCH_LOCK,
        protocol.UNWATCH_LOCK,
    ),
    (int, str, bytes, NoneType, bool): (protocol.SET,),
    (int, str, bytes, float, bool): (protocol.SET,),
    (int, str, int, NoneType): (protocol.INCR,),
    (int, str, int, float): (protocol.INCR,),
    (int, str, bytes, bytes): (protocol.REPLACE,),
    (int, list): (protocol.GET_MANY,),
    (int, str, NoneType): (protocol.KEYS,),
    (int, str, str): (protocol.KEYS, protocol.RELEASE),
    (int, str, str, float): (protocol.ACQUIRE, protocol.RENEW),
}
"""Which operations have arguments of these types."""

_TTL: dict[int, int] = {protocol.SET: 3, protocol.INCR: 3, protocol.ACQUIRE: 3, protocol.RENEW: 3}
"""Where an operation has its time to live."""


class _Kinds(dict[tuple[type, ...], tuple[list[int], ...]]):
    def __missing__(self, types: tuple[type, ...]) -> tuple[list[int], ...]:
        return ()


_KINDS = _Kinds({types: tuple([kind] for kind in kinds) for types, kinds in _TYPES.items()})


def perform(store: Store, now: float, operations: deque[Any]) -> bytes:
    """Performs the first operations, which it removes, until their results fill a frame. Returns the results, encoded.

    Raises:
        ProtocolError: An operation is none.
    """
    results: list[Any] = []
    frames: list[bytes] = []
    size = 0
    while operations and size < PAGE:
        operation = operations[0]
        if type(operation) is not list or operation[:1] not in _KINDS[tuple(map(type, operation))]:
            raise ProtocolError(f"{operation!r:.60} is no operation")
        kind = operation[0]
        if (at := _TTL.get(kind)) is not None and (ttl := operation[at]) is not None and not 0 < ttl < math.inf:
            raise ProtocolError(f"{ttl} is no time to live")
        try:
            result = _PERFORM[kind](store, now, *operation[1:])
        except (TypeError, OverflowError) as error:
            if results:
                frames.append(encode(RESULTS, results))
                results = []
            frames.append(encode(FAILURE, _NAMES[type(error)], str(error)))
        else:
            results.append(result)
            if type(result) is bytes:
                size += len(result)
            elif type(result) is list:
                size += sum(len(item) for item in result if item is not None)
        operations.popleft()
    if results:
        frames.append(encode(RESULTS, results))
    return b"".join(frames)


_NAMES = {error: name for name, error in ERRORS.items()}
