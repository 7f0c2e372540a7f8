"""Encodes and decodes frames, sans-I/O.

A frame is a 4-byte big-endian length and that many bytes of msgpack: an array ``[kind, …fields]``. A user's message
is packed separately (`pack`) and travels inside a frame as ``bin``, so the primary routes it without unpacking it.

Most frames are those of flows: ``[kind, peer, number, body]``. Their three ints and the length of the body are packed
in the formats of a fixed length that msgpack has for them, so one `Struct` packs all of it, and another call takes it
apart, with the fields' types checked.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any

import msgpack

from ..errors import MessageTooLargeError, ProtocolError, SerializationError

MAX_FRAME = 64 * 1024 * 1024
"""The default limit of a frame's length, in bytes. A security limit: a peer could announce gigabytes."""

MAX_FRAME_OF_PEER = 256 * 1024
"""The same for what a worker or a child sends. Its own frames are short, and longer messages come in fragments. Of
256 KiB, msgpack makes at most some 20 MB, in a few milliseconds."""

MAX_CONTAINERS = 1024 * 1024
"""The most lists and dicts in a message. A security limit: an empty dict takes one byte here and 72 in memory, so
64 MiB of them would take 4.8 GB, and block the receiver for as long as it makes them."""

MAX_MESSAGE = MAX_FRAME - 64
"""The most bytes a packed message may have. Its frame then stays within `MAX_FRAME`."""

_LENGTH = Struct(">I")
_unpack_length = _LENGTH.unpack_from
_pack_frame = msgpack.Packer(autoreset=True, unicode_errors="surrogatepass").pack

FlowFields = tuple[int, int, int, bytes]
"""Kind, peer, number and body of a frame of a flow (`frames.FlowFrame`)."""

RawFrame = list[Any] | FlowFields
"""A decoded frame. Its fields are checked if it is a tuple, and not if it is a list."""

_FLOW = Struct(">IBBBIBqBI")
_unpack_flow = _FLOW.unpack_from
_pack_flow = _FLOW.pack
_ARRAY_4, _UINT_32, _INT_64, _BIN_32 = 0x94, 0xCE, 0xD3, 0xC6  # msgpack's first bytes
_KINDS = 19  # of frames of flows: their numbers are below, and not 0
_HEAD = _FLOW.size
_HEAD_AFTER_LENGTH = _HEAD - _LENGTH.size


def _unpack_frame(body: bytes) -> Any:
    # Paths, arguments and variables need not be UTF-8: Python has surrogates for other bytes (os.fsdecode), which pass.
    return msgpack.unpackb(body, strict_map_key=False, unicode_errors="surrogatepass")


def encode(*fields: Any) -> bytes:
    """One frame as bytes: its kind, then its fields (int, str, bytes, bool, None and lists of these)."""
    body: bytes = _pack_frame(fields)
    return _LENGTH.pack(len(body)) + body


def encode_flow(kind: int, peer: int, number: int, body: bytes | memoryview) -> bytes:
    """One frame of a flow as bytes, like ``encode`` of the same fields.

    Args:
        kind: One of `frames.FLOW`.
        peer: 32 bits.
        number: 64 bits.
        body: The last field.
    """
    size = len(body)
    return _pack_flow(size + _HEAD_AFTER_LENGTH, _ARRAY_4, kind, _UINT_32, peer, _INT_64, number, _BIN_32, size) + body


def pack_fields(fields: list[Any]) -> bytes:
    """Fields of a frame that travel in a message, as bytes."""
    body: bytes = _pack_frame(fields)
    return body


def unpack_fields(body: bytes) -> Any:
    """The fields that `pack_fields` packed.

    Raises:
        ProtocolError: The bytes are something else.
    """
    try:
        return _unpack_frame(body)
    except Exception as error:
        raise ProtocolError(f"{len(body)} bytes are not fields: {error}") from None


class Decoder:
    """Takes bytes and returns frames. It keeps the bytes of an incomplete frame.

    Args:
        limit: The longest frame allowed, in bytes.
    """

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._wanted = 4  # the length of `_rest` below which no frame is complete

    @property
    def buffered(self) -> int:
        """How many bytes of an incomplete frame it keeps."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[RawFrame]:
        """The frames that ``data`` completes, in order.

        Raises:
            ProtocolError: The bytes are not a frame, or it is over the limit. The decoder can't be used any more.
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
            begin, position = position, start + length
            yield _flow(data, begin, position) or _frame(data[start:position])
        else:
            self._wanted = 4
        if position < end:
            rest += data[position:] if position else data

    def feed_one(self, data: bytes) -> FlowFields | None:
        """The frame, if ``data`` is one frame of a flow, whole and alone. Else None; then call `feed`."""
        size = len(data)
        return None if self._rest or size > self._limit else _flow(data, 0, size)


def _flow(data: bytes, begin: int, end: int) -> FlowFields | None:
    """The fields of the frame that these bytes are, if it is one of a flow, as `encode_flow` encodes it."""
    if end - begin < _HEAD:
        return None
    length, array, kind, uint, peer, int_, number, bin_, size = _unpack_flow(data, begin)
    if (
        begin + _HEAD + size == end
        and length == _HEAD_AFTER_LENGTH + size
        and array == _ARRAY_4
        and 0 < kind < _KINDS
        and uint == _UINT_32
        and int_ == _INT_64
        and bin_ == _BIN_32
    ):
        return kind, peer, number, data[begin + _HEAD : end]
    return None


def _frame(body: bytes) -> RawFrame:
    try:
        frame = _unpack_frame(body)
    except Exception as error:  # msgpack raises many types: ValueError, UnicodeDecodeError, its own
        raise ProtocolError(f"{len(body)} bytes are not a frame: {error}") from None
    if type(frame) is not list or not frame or type(frame[0]) is not int:
        raise ProtocolError(f"a frame is an array that starts with its kind; {len(body)} bytes hold something else")
    return frame


def flow_fields(frame: RawFrame) -> FlowFields:
    """The kind and the checked fields of a frame of a flow (`frames.FlowFrame`).

    Raises:
        ProtocolError: The fields are not those of a flow frame.
    """
    if type(frame) is tuple:
        return frame
    if len(frame) == 4:
        kind, peer, number, body = frame
        is_typed = type(peer) is type(number) is int and type(body) is bytes
        if is_typed and 0 < kind < _KINDS and 0 <= peer < 2**32 and -(2**63) <= number < 2**63:
            return kind, peer, number, body
    raise ProtocolError(f"a frame of kind {frame[0]} with fields of the wrong types")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # an error of its __repr__, or a RecursionError
        text = "<unprintable>"
    return text if len(text) <= 60 else text[:57] + "…"


# ---- users' messages

pack_exact = msgpack.Packer(autoreset=True, strict_types=True).pack
"""Packs messages of plain types; raises for any other, see `pack`. A receiver can unpack whatever this packs."""

_pack_any = msgpack.Packer(autoreset=True, datetime=True).pack
_KEYS = (str, int, bytes, float, type(None))
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def pack(message: Any) -> bytes:
    """A user's message as bytes.

    Raises:
        SerializationError: It holds a value that msgpack can't carry; the text says where.
        MessageTooLargeError: It is longer than `MAX_MESSAGE`, or holds more than `MAX_CONTAINERS` lists and dicts.
    """
    try:
        body: bytes = pack_exact(message)
    except Exception:
        body = _pack_inexact(message)
    return body if len(body) <= MAX_CONTAINERS else within_limit(body)


def within_limit(body: bytes) -> bytes:
    """Returns ``body`` unchanged.

    Raises:
        MessageTooLargeError: It is longer than `MAX_MESSAGE`, or holds more than `MAX_CONTAINERS` lists and dicts.
    """
    if len(body) > MAX_MESSAGE:
        raise MessageTooLargeError(f"the message has {len(body)} bytes packed; the limit is {MAX_MESSAGE}")
    if len(body) > MAX_CONTAINERS and _has_too_many_containers(body):
        raise MessageTooLargeError(f"the message holds more lists and dicts than the limit of {MAX_CONTAINERS}")
    return body


_NO_CONTAINER = bytes({*range(256)} - {*range(0x80, 0xA0), *range(0xDC, 0xE0)})
"""The bytes with which no list and no dict begins (msgpack's specification, "Formats")."""


def _has_too_many_containers(body: bytes) -> bool:
    if len(body.translate(None, _NO_CONTAINER)) <= MAX_CONTAINERS:
        return False  # each begins with one of these bytes
    count = 0

    def count_one(container: object) -> None:
        nonlocal count
        count += 1
        if count > MAX_CONTAINERS:
            raise OverflowError

    try:
        msgpack.unpackb(body, strict_map_key=False, object_hook=count_one, list_hook=count_one, timestamp=_TIMESTAMP)
    except OverflowError:
        return True
    return False


def _pack_inexact(message: Any) -> bytes:
    """Packs tuples, datetimes and subclasses too. Checks the message, as msgpack packs some that it can't unpack."""
    try:
        body: bytes = _pack_any(message)
    except Exception as error:
        raise SerializationError(_complaint(message) or f"message: {error}") from None
    try:
        is_plain = _plain(message)
    except RecursionError:
        is_plain = False
    if not is_plain and (complaint := _complaint(message)):
        raise SerializationError(complaint)
    return body


def _plain(value: Any) -> bool:
    """Whether a quick check finds nothing that `_complaint` must examine."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) not in _SCALARS or (type(item) not in _SCALARS and not _plain(item)):
                return False
        return True
    if kind is list or kind is tuple:
        return _SCALARS.issuperset(map(type, value)) or all(map(_plain, value))
    return kind in _SCALARS


def unpack(body: bytes) -> Any:
    """The message that `pack` packed.

    Raises:
        ProtocolError: The bytes are not a message, or it is over a limit.
    """
    try:
        if len(body) > MAX_CONTAINERS:
            within_limit(body)
        return _unpack_one(body, strict_map_key=False, timestamp=_DATETIME)
    except OverflowError:
        return _unpack_out_of_range(body)
    except Exception as error:
        raise ProtocolError(f"{len(body)} bytes are not a message: {error}") from None


def unpack_batch(body: bytes, count: int) -> list[Any]:
    """The ``count`` messages that are packed one after the other in ``body``.

    Raises:
        ProtocolError: The bytes are not that many messages.
    """
    try:
        # Together they are an array's items, which are unpacked in one call. A wrong count raises, as does a time that
        # datetime can't hold.
        array = _pack_array(_ARRAY_32, count) + body
        messages: list[Any] = _unpack_one(array, strict_map_key=False, timestamp=_DATETIME)
        return messages
    except Exception:
        return _unpack_each(body, count)


def _unpack_each(body: bytes, count: int) -> list[Any]:
    try:
        messages, used = _unpack_all(body)
    except Exception as error:
        raise ProtocolError(f"{len(body)} bytes are not messages: {error}") from None
    if len(messages) != count or used != len(body):
        raise ProtocolError(f"{len(body)} bytes hold {len(messages)} messages, not {count}")
    return messages


def split_batch(body: bytes) -> list[bytes]:
    """The packed messages that are one after the other in ``body``, which this process has packed itself."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(body), 1))
    unpacker.feed(body)
    messages = []
    begin = 0
    while begin < len(body):
        unpacker.skip()
        end = unpacker.tell()
        messages.append(body[begin:end])
        begin = end
    return messages


_unpack_one = msgpack.unpackb
_pack_array = Struct(">BI").pack
_ARRAY_32 = 0xDD
_DATETIME, _TIMESTAMP = 3, 0  # msgpack's options for what a timestamp becomes


def _unpack_out_of_range(body: bytes) -> Any:
    """Unpacks a message with a Timestamp that is out of datetime's range: all of them stay Timestamps."""
    try:
        return _unpack_one(body, strict_map_key=False, timestamp=_TIMESTAMP)
    except Exception as error:
        raise ProtocolError(f"{len(body)} bytes are not a message: {error}") from None


def _unpack_all(body: bytes, timestamp: int = _DATETIME) -> tuple[list[Any], int]:
    """The messages, and how many bytes they were packed in."""
    unpacker = msgpack.Unpacker(strict_map_key=False, timestamp=timestamp, max_buffer_size=max(len(body), 1))
    unpacker.feed(body)
    try:
        return list(unpacker), unpacker.tell()
    except OverflowError:
        if timestamp == _TIMESTAMP:
            raise
        return _unpack_all(body, _TIMESTAMP)


_DEPTH = 1024  # how many containers may be nested: msgpack's own limit


def _complaint(message: Any) -> str | None:
    """Where a message holds a value that msgpack can't carry, and why; None if there is no such value.

    It keeps its own stack, so that the depth of Python's call stack does not matter.
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
    """Why msgpack can't carry this value; None if it can. The items of a container are not checked."""
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
            if not isinstance(key, _KEYS):
                return f"key {_shown(key)} of type {type(key).__name__}"
        return None
    if isinstance(value, (list, tuple, msgpack.Timestamp)):  # an ExtType is a tuple
        return None
    return type(value).__name__


def _items_of_list(values: Sequence[Any], place: str) -> Iterator[tuple[str, Any]]:
    for index, item in enumerate(values):
        yield f"{place}[{index}]", item


def _items_of_dict(values: dict[Any, Any], place: str) -> Iterator[tuple[str, Any]]:
    for key, item in values.items():
        here = f"{place}[{json.dumps(key) if isinstance(key, str) else repr(key)}]"
        yield here, key
        yield here, item


def _shortened(place: str) -> str:
    return place if len(place) <= 200 else f"{place[:100]}…{place[-100:]}"
