"""Frames to bytes and back, sans-I/O.

A frame is a 4-byte big-endian length and that many bytes of msgpack: an array ``[kind, …fields]``. A user's message
is packed by itself (`pack`) and travels inside a frame as ``bin``, so that whoever routes it never looks inside.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any

import msgpack

from ..errors import MessageTooLargeError, ProtocolError, SerializationError

MAX_FRAME = 64 * 1024 * 1024
"""The default limit of a frame's length, in bytes: a security limit, against a peer that announces gigabytes."""

MAX_MESSAGE = MAX_FRAME - 64
"""The most bytes a packed message may have, so that its frame stays within `MAX_FRAME`."""

_LENGTH = Struct(">I")
_unpack_length = _LENGTH.unpack_from
_pack_frame = msgpack.Packer(autoreset=True).pack

Frame = list[Any]


def encode(*fields: Any) -> bytes:
    """One frame as bytes: its kind, then its fields (int, str, bytes, bool, None and lists of these)."""
    body: bytes = _pack_frame(fields)
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Bytes in, frames out. It keeps what is left of an unfinished frame.

    Args:
        limit: The longest frame allowed, in bytes.
    """

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._wanted = 4  # how long `_rest` must be before another look at it can help

    @property
    def buffered(self) -> int:
        """Bytes of an unfinished frame that wait for the others."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes, in order.

        Raises:
            ProtocolError: The bytes are no frame, or one over the limit. The decoder is of no use afterwards.
        """
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._wanted:
                return
            data = bytes(rest)
            rest.clear()
        position, end = 0, len(data)
        while end - position >= 4:
            (length,) = _unpack_length(data, position)
            if length > self._limit:
                raise ProtocolError(f"a frame of {length} bytes is over the limit of {self._limit}")
            start = position + 4
            if end - start < length:
                self._wanted = 4 + length
                break
            position = start + length
            yield _frame(data[start:position])
        else:
            self._wanted = 4
        if position < end:
            rest += data[position:] if position else data


def _frame(body: bytes) -> Frame:
    try:
        frame = msgpack.unpackb(body, strict_map_key=False)
    except Exception as error:  # msgpack raises a dozen kinds: ValueError, UnicodeDecodeError, its own
        raise ProtocolError(f"{len(body)} bytes are no frame: {error}") from None
    if type(frame) is not list or not frame or type(frame[0]) is not int:
        raise ProtocolError(f"a frame is an array that starts with its kind; {len(body)} bytes hold something else")
    return frame


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # its own, or a RecursionError
        text = "<unprintable>"
    return text if len(text) <= 60 else text[:57] + "…"


# ---- users' messages

_pack_message = msgpack.Packer(autoreset=True, datetime=True).pack
_KEYS = frozenset({str, int, bytes})
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def pack(message: Any) -> bytes:
    """A user's message as bytes.

    Raises:
        SerializationError: It holds what msgpack can't carry; the text names the place.
        MessageTooLargeError: It is longer than `MAX_MESSAGE`.
    """
    try:
        body: bytes = _pack_message(message)
    except Exception as error:
        raise SerializationError(_complaint(message) or f"message: {error}") from None
    # msgpack packs more than a receiver could unpack: kinds of keys, and datetimes before the year 1 of UTC.
    if type(message) is dict:
        for key, item in message.items():  # the usual message, looked through in place
            if type(key) is not str or type(item) not in _SCALARS:
                break
        else:
            if len(body) <= MAX_MESSAGE:
                return body
    try:
        is_plain = _plain(message)
    except RecursionError:
        is_plain = False
    if not is_plain and (complaint := _complaint(message)):
        raise SerializationError(complaint)
    if len(body) > MAX_MESSAGE:
        raise MessageTooLargeError(f"the message has {len(body)} bytes packed; the limit is {MAX_MESSAGE}")
    return body


def _plain(value: Any) -> bool:
    """Whether a quick look finds nothing that needs `_complaint`. It is made for each message that is sent."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) not in _KEYS or (type(item) not in _SCALARS and not _plain(item)):
                return False
        return True
    if kind is list or kind is tuple:
        return _SCALARS.issuperset(map(type, value)) or all(map(_plain, value))
    return kind in _SCALARS


def unpack(body: bytes) -> Any:
    """The message that `pack` packed.

    Raises:
        ProtocolError: The bytes are no message.
    """
    try:
        return msgpack.unpackb(body, strict_map_key=False, timestamp=3)
    except Exception as error:
        raise ProtocolError(f"{len(body)} bytes are no message: {error}") from None


def unpack_run(body: bytes, count: int) -> Iterator[Any]:
    """The ``count`` messages that stand in ``body`` one after the other.

    Raises:
        ProtocolError: The bytes are not that many messages.
    """
    unpacker = msgpack.Unpacker(strict_map_key=False, timestamp=3, max_buffer_size=max(len(body), 1))
    unpacker.feed(body)
    found = 0
    try:
        for message in unpacker:
            found += 1
            yield message
    except GeneratorExit:
        raise
    except Exception as error:
        raise ProtocolError(f"{len(body)} bytes are no messages: {error}") from None
    if found != count or unpacker.tell() != len(body):
        raise ProtocolError(f"{len(body)} bytes hold {found} messages, not {count}")


_DEPTH = 511  # containers around a value: msgpack's own limit


def _complaint(message: Any) -> str | None:
    """Where in a message stands what msgpack can't carry; None if it carries all.

    It keeps its own stack: how deep the caller stands in Python's must not matter.
    """
    stack = [iter([("message", message)])]
    while stack:
        for place, value in stack[-1]:
            if len(stack) - 1 > _DEPTH:
                return f"{_shortened(place)}: nested too deeply, or it contains itself"
            if reason := _reason(value):
                return f"{_shortened(place)}: {reason}"
            if isinstance(value, (list, tuple)):
                stack.append(_items_of_list(value, place))
                break
            if isinstance(value, dict):
                stack.append(_items_of_dict(value, place))
                break
        else:
            stack.pop()
    return None


_CARRIED = (type(None), bool, float, bytes, bytearray, memoryview)


def _reason(value: Any) -> str | None:
    """Why msgpack can't carry this; None if it can, what a container holds aside."""
    if isinstance(value, _CARRIED):
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**64 else "int of more than 64 bits"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "str with a lone surrogate"
        return None
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            return "datetime without a timezone"
        try:
            value.astimezone(datetime.UTC)
        except OverflowError:
            return "datetime outside the years 1 to 9999 of UTC"
        return None
    if isinstance(value, dict):
        for key in value:
            if isinstance(key, bool) or not isinstance(key, (str, int, bytes)):
                return f"key {_shown(key)} of type {type(key).__name__}"
        return None
    if isinstance(value, (list, tuple)) and not isinstance(value, msgpack.ExtType):
        return None
    return type(value).__name__


def _items_of_list(values: Sequence[Any], place: str) -> Iterator[tuple[str, Any]]:
    for index, item in enumerate(values):
        yield f"{place}[{index}]", item


def _items_of_dict(values: dict[Any, Any], place: str) -> Iterator[tuple[str, Any]]:
    import json  # for the text of an error

    for key, item in values.items():
        here = f"{place}[{json.dumps(key) if isinstance(key, str) else repr(key)}]"
        yield here, key
        yield here, item


def _shortened(place: str) -> str:
    return place if len(place) <= 200 else f"{place[:100]}…{place[-100:]}"
