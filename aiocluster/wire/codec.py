"""Frames to bytes and back, sans-I/O.

A frame is a 4-byte big-endian length and that many bytes of msgpack: an array ``[kind, …fields]``. A user's message
is packed by itself (`pack`) and travels inside a frame as ``bin``, so that whoever routes it never looks inside.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
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
        raise ProtocolError(f"a frame is an array that starts with its kind, not {_shown(frame)}")
    return frame


def _shown(value: Any) -> str:
    text = repr(value)
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
    # msgpack packs more kinds of keys than a receiver could make a dict of.
    if not _plain(message) and (complaint := _complaint(message)):
        raise SerializationError(complaint)
    if len(body) > MAX_MESSAGE:
        raise MessageTooLargeError(f"the message has {len(body)} bytes packed; the limit is {MAX_MESSAGE}")
    return body


def _plain(value: Any) -> bool:
    """Whether a quick look (C speed but for nested containers) finds nothing that needs `_culprit`."""
    kind = type(value)
    if kind is dict:
        if not _KEYS.issuperset(map(type, value)):
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _SCALARS
    return _SCALARS.issuperset(map(type, value)) or all(map(_plain, value))


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


_DEPTH = 500  # msgpack's own limit is 511


def _complaint(message: Any) -> str | None:
    """Where in a message stands what msgpack can't carry; None if it carries all."""
    try:
        culprit = _culprit(message, "message", 0)
    except RecursionError:
        culprit = "message", "nested too deeply, or it contains itself"
    return f"{culprit[0]}: {culprit[1]}" if culprit else None


_CARRIED = (type(None), bool, float, bytes, bytearray, memoryview)


def _culprit(value: Any, place: str, depth: int) -> tuple[str, str] | None:
    """The first place in a message that msgpack can't carry, and why; None if there is none."""
    if depth > _DEPTH:
        return place, "nested too deeply, or it contains itself"
    if isinstance(value, _CARRIED):
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**64 else (place, "int of more than 64 bits")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return place, "str with a lone surrogate"
        return None
    if isinstance(value, datetime.datetime):
        return None if value.tzinfo is not None else (place, "datetime without a timezone")
    if isinstance(value, (list, tuple)):
        return _first(_culprit(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value))
    if isinstance(value, dict):
        return _first(_culprit_in_item(key, item, place, depth + 1) for key, item in value.items())
    return place, type(value).__name__


def _culprit_in_item(key: Any, item: Any, place: str, depth: int) -> tuple[str, str] | None:
    if isinstance(key, bool) or not isinstance(key, (str, int, bytes)):
        return place, f"key {_shown(key)} of type {type(key).__name__}"
    shown = json.dumps(key) if isinstance(key, str) else repr(key)
    here = f"{place}[{shown}]"
    return _culprit(key, here, depth) or _culprit(item, here, depth)


def _first(found: Iterator[tuple[str, str] | None]) -> tuple[str, str] | None:
    return next((culprit for culprit in found if culprit), None)
