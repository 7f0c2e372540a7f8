"""Frames and messages: they come back as they went, and bytes that are neither raise ProtocolError and nothing else."""

from __future__ import annotations

import collections
import datetime
import enum
import itertools
import math
import struct
import sys
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiocluster._wire import codec
from aiocluster._wire.codec import (
    MAX_CONTAINERS,
    MAX_FRAME,
    MAX_MESSAGE,
    Decoder,
    RawFrame,
    encode,
    encode_flow,
    flow_fields,
    pack,
    pack_fields,
    split_batch,
    unpack,
    unpack_batch,
    unpack_fields,
)
from aiocluster.errors import ClusterError, MessageTooLargeError, ProtocolError, SerializationError

utc = datetime.UTC

text = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.integers(-(2**63), 2**64 - 1)
moments = st.datetimes(
    datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30), timezones=st.timezones() | st.just(utc)
).filter(lambda moment: moment == moment.astimezone(utc))  # not so for times that a zone skips or has twice (PEP 495)
messages = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False) | text | st.binary() | moments,
    lambda inner: st.lists(inner) | st.dictionaries(text | integers | st.binary(), inner),
    max_leaves=20,
)
fields = st.lists(st.none() | st.booleans() | integers | text | st.binary(max_size=300) | st.lists(integers))
frames = st.tuples(st.integers(0, 255), fields).map(lambda parts: [parts[0], *parts[1]])


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def in_chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


# ---- frames


@given(frames)
def test_a_frame_comes_back_as_it_went(frame: RawFrame) -> None:
    assert list(Decoder().feed(encode(*frame))) == [frame]


@given(st.lists(frames, max_size=8), st.lists(st.integers(0), max_size=30))
def test_frames_come_back_in_order_however_the_bytes_are_cut(sent: list[RawFrame], cuts: list[int]) -> None:
    decoder = Decoder()
    received: list[RawFrame] = []
    for chunk in in_chunks(b"".join(encode(*frame) for frame in sent), cuts):
        received.extend(decoder.feed(chunk))
    assert received == sent
    assert decoder.buffered == 0


def test_frames_come_back_byte_by_byte() -> None:
    sent = [[1, b"x" * length] for length in (0, 1, 3, 4, 5, 300)]
    decoder = Decoder()
    received = [frame for byte in b"".join(encode(*frame) for frame in sent) for frame in decoder.feed(bytes([byte]))]
    assert received == sent


def test_buffered_counts_the_bytes_of_an_unfinished_frame() -> None:
    decoder = Decoder()
    whole, data = encode(1), encode(7, b"x" * 100)
    assert list(decoder.feed(whole + data[:60])) == [[1]]
    assert decoder.buffered == 60
    assert list(decoder.feed(data[60:-1])) == []
    assert decoder.buffered == len(data) - 1
    assert list(decoder.feed(data[-1:] + whole)) == [[7, b"x" * 100], [1]]
    assert decoder.buffered == 0


flow_frames = st.tuples(
    st.integers(1, 14), st.integers(0, 2**32 - 1), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=300)
)


@given(flow_frames)
def test_a_frame_of_a_flow_is_msgpack_and_comes_back_checked(frame: tuple[int, int, int, bytes]) -> None:
    data = encode_flow(*frame)
    assert msgpack.unpackb(data[4:]) == list(frame)
    assert list(Decoder().feed(data)) == [Decoder().feed_one(data)] == [frame]
    assert encode_flow(*frame[:3], memoryview(frame[3])) == data
    (other,) = Decoder().feed(encode(*frame))  # as any other program packs it
    assert flow_fields(other) == flow_fields(frame) == frame


@given(st.lists(flow_frames | frames, max_size=8), st.lists(st.integers(0), max_size=30))
def test_both_sorts_of_frames_come_back_in_order_however_they_are_cut(sent: list[RawFrame], cuts: list[int]) -> None:
    decoder = Decoder()
    received: list[RawFrame] = []
    data = b"".join(encode_flow(*frame) if isinstance(frame, tuple) else encode(*frame) for frame in sent)
    for chunk in in_chunks(data, cuts):
        one = decoder.feed_one(chunk)
        received.extend(decoder.feed(chunk) if one is None else [one])
    assert received == sent
    assert decoder.buffered == 0


@given(flow_frames, st.integers(4, 24), st.integers(0, 255), st.booleans())
def test_a_header_with_another_byte_is_read_as_msgpack_reads_it(
    frame: tuple[int, int, int, bytes], place: int, byte: int, is_alone: bool
) -> None:
    data = bytearray(encode_flow(*frame))
    data[place] = byte
    decoder = Decoder()
    try:
        expected = msgpack.unpackb(data[4:], strict_map_key=False, unicode_errors="surrogatepass")
    except Exception:
        expected = None
    is_frame = type(expected) is list and bool(expected) and type(expected[0]) is int
    if not is_frame:
        assert decoder.feed_one(bytes(data)) is None
        with pytest.raises(ProtocolError):
            list(decoder.feed(bytes(data)))
        return
    (found,) = decoder.feed(bytes(data))
    assert list(found) == expected
    if is_alone and isinstance(found, tuple):
        assert decoder.feed_one(bytes(data)) == found
    try:
        assert list(flow_fields(found)) == expected
    except ProtocolError:
        assert isinstance(found, list)


@pytest.mark.parametrize(
    "frame", [[1, 2, 3], [1, 2, 3, "text"], [1, -1, 3, b""], [1, 2**32, 3, b""], [1, 2, 2**63, b""], [19, 2, 3, b""]]
)
def test_fields_that_no_flow_has_are_refused(frame: RawFrame) -> None:
    with pytest.raises(ProtocolError, match="fields of the wrong types"):
        flow_fields(frame)


def test_a_frame_over_the_limit_or_after_a_part_of_another_is_not_taken_alone() -> None:
    whole = encode_flow(5, 1, 2, b"x" * 100)
    assert Decoder(limit=len(whole) - 5).feed_one(whole) is None
    decoder = Decoder()
    assert list(decoder.feed(whole[:10])) == []
    assert decoder.feed_one(whole) is None
    assert decoder.feed_one(whole + whole) is None


def test_a_map_in_a_frame_may_have_any_keys() -> None:
    assert list(Decoder().feed(encode(1, {2: "two", "three": 3}))) == [[1, {2: "two", "three": 3}]]


@pytest.mark.parametrize("text", ["caf\udce9", "\ud800", "\udfff\ud800", "é", "𝄞"])
def test_any_text_of_python_passes_in_a_frame(text: str) -> None:
    """Paths, arguments and variables whose bytes are no UTF-8 have surrogates (os.fsdecode)."""
    frame = [1, text, {text: [text]}]
    assert list(Decoder().feed(encode(*frame))) == [frame]
    assert unpack_fields(pack_fields(frame)) == frame


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\xa1\xff", b"\x01\x01"])
def test_what_is_no_fields_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="are not fields"):
        unpack_fields(body)


def test_nothing_fed_is_nothing_found() -> None:
    assert list(Decoder().feed(b"")) == []


def test_a_frame_of_exactly_the_limit_passes() -> None:
    data = encode(1, b"x" * 100)
    assert list(Decoder(limit=len(data) - 4).feed(data)) == [[1, b"x" * 100]]


@pytest.mark.parametrize("length", [101, 2**31, 2**32 - 1])
def test_a_frame_over_the_limit_is_refused_by_its_length_alone(length: int) -> None:
    with pytest.raises(ProtocolError, match=rf"^a frame of {length} bytes is over the limit of 100$"):
        list(Decoder(limit=100).feed(struct.pack(">I", length)))


def test_the_default_limit_is_64_mib() -> None:
    assert MAX_FRAME == 64 * 1024 * 1024
    assert list(Decoder().feed(struct.pack(">I", MAX_FRAME))) == []
    with pytest.raises(ProtocolError):
        list(Decoder().feed(struct.pack(">I", MAX_FRAME + 1)))


def test_frames_before_a_bad_one_are_handed_out() -> None:
    found = []
    with pytest.raises(ProtocolError):
        for frame in Decoder().feed(encode(1) + encode(2) + framed(b"\xc1") + encode(3)):
            found.append(frame)
    assert found == [[1], [2]]


NO_FRAMES = {
    "nothing": b"",
    "a byte that msgpack never uses": b"\xc1",
    "an array cut short": b"\x93\x01",
    "bytes after the array": b"\x91\x01\x01",
    "a number": b"\x01",
    "a map": b"\x81\x01\x02",
    "an empty array": b"\x90",
    "a kind that is text": b"\x91\xa1a",
    "a kind that is a bool": b"\x91\xc3",
    "a kind that is a float": b"\x91\xcb" + struct.pack(">d", 1.0),
    "text that is no UTF-8": b"\x92\x01\xa1\xff",
    "an array that claims four thousand million fields": b"\xdd\xff\xff\xff\xff\x01",
    "a map that claims as many": b"\xdf\xff\xff\xff\xff\x01",
    "bin that claims as many": b"\xc6\xff\xff\xff\xff\x01",
    "an array as a key": b"\x92\x01\x81\x90\x01",
    "a timestamp of the wrong length": b"\x92\x01\xd4\xff\x00",
    "lists in lists": b"\x91" * 2000 + b"\x01",
    "lists in lists, as deep as msgpack goes": b"\x91" * 1023 + b"\x01",
    "maps in maps, as deep as msgpack goes": b"\x81\x01" * 1023 + b"\x01",
}


@pytest.mark.parametrize("body", NO_FRAMES.values(), ids=NO_FRAMES.keys())
def test_what_is_no_frame_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=rf"(^|; ){len(body)} bytes (are not a frame|hold something else)"):
        list(Decoder().feed(framed(body)))


def test_a_complaint_about_a_frame_is_short() -> None:
    for body in (msgpack.packb({"x": "y" * 10_000}), msgpack.packb(b"z" * 10_000), msgpack.packb(["y" * 10_000])):
        with pytest.raises(ProtocolError) as caught:
            list(Decoder().feed(framed(body)))
        assert len(str(caught.value)) < 200


def feed_all(decoder: Decoder, chunks: list[bytes]) -> list[RawFrame]:
    found: list[RawFrame] = []
    try:
        for chunk in chunks:
            found.extend(decoder.feed(chunk))
    except ProtocolError:
        pass
    return found


@given(st.binary(max_size=2000), st.lists(st.integers(0), max_size=10))
def test_random_bytes_raise_nothing_but_protocol_error(data: bytes, cuts: list[int]) -> None:
    found = feed_all(Decoder(limit=1000), in_chunks(data, cuts))
    assert all(type(frame) is list and type(frame[0]) is int for frame in found)


@given(st.binary(max_size=2000))
def test_random_bodies_raise_nothing_but_protocol_error(body: bytes) -> None:
    feed_all(Decoder(), [framed(body)])


@given(st.lists(frames, min_size=1, max_size=5), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1))
def test_mutated_frames_raise_nothing_but_protocol_error(sent: list[RawFrame], changes: list[tuple[int, int]]) -> None:
    data = bytearray(b"".join(encode(*frame) for frame in sent))
    for place, byte in changes:
        data[place % len(data)] = byte
    feed_all(Decoder(limit=10_000), [bytes(data)])


# ---- messages


@given(messages)
def test_a_message_comes_back_as_it_went(message: Any) -> None:
    assert unpack(pack(message)) == message


@given(st.lists(messages, min_size=1, max_size=6))
def test_messages_one_after_the_other_come_back_in_order(sent: list[Any]) -> None:
    bodies = list(map(pack, sent))
    assert list(unpack_batch(b"".join(bodies), len(sent))) == sent
    assert split_batch(b"".join(bodies)) == bodies


@given(messages)
def test_types_come_back_as_they_went(message: Any) -> None:
    def types(value: Any) -> Any:
        if isinstance(value, list):
            return [types(item) for item in value]
        if isinstance(value, dict):
            return {key: (type(key), types(item)) for key, item in value.items()}
        return type(value)

    assert types(unpack(pack(message))) == types(message)


@pytest.mark.parametrize("number", [math.inf, -math.inf, -0.0, sys.float_info.max, 5e-324])
def test_floats_come_back_as_they_went(number: float) -> None:
    assert math.copysign(1, unpack(pack(number))) == math.copysign(1, number)
    assert unpack(pack(number)) == number
    assert math.isnan(unpack(pack(math.nan)))


@pytest.mark.parametrize("number", [2**64 - 1, 2**63, -(2**63), -1, 0])
def test_ints_of_64_bits_come_back_as_they_went(number: int) -> None:
    assert unpack(pack(number)) == number
    assert unpack(pack({number: number})) == {number: number}


def test_a_tuple_arrives_as_a_list() -> None:
    assert unpack(pack((1, ("a", ()), {"k": (2,)}))) == [1, ["a", []], {"k": [2]}]


def test_a_datetime_keeps_its_moment_to_the_microsecond() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=45))
    moment = datetime.datetime(2026, 2, 28, 23, 59, 59, 999_999, zone)
    back = unpack(pack({"at": moment}))["at"]
    assert back == moment
    assert back.utcoffset() == datetime.timedelta(0)


class Colour(enum.IntEnum):
    RED = 1


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("message", "arrives"),
    [
        (Colour.RED, 1),
        (Name("ada"), "ada"),
        ({Name("ada"): Colour.RED, Colour.RED: [Colour.RED]}, {"ada": 1, 1: [1]}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
    ],
)
def test_subclasses_and_buffers_arrive_as_the_plain_type(message: Any, arrives: Any) -> None:
    back = unpack(pack(message))
    assert back == arrives
    assert type(back) is type(arrives)


@pytest.mark.parametrize(
    "message",
    [
        {None: 1, 1.5: 2, True: 3, b"b": 4, 5: 6, "seven": 8},
        [msgpack.ExtType(5, b"abc")],
        {"far": [msgpack.Timestamp(2**62)], "near": msgpack.Timestamp(0)},
        {7: msgpack.Timestamp(2**62), b"b": 1},
    ],
)
@pytest.mark.parametrize("beside", [None, (1,)], ids=["exact", "with a tuple"])
def test_whatever_msgpack_has_is_carried(message: Any, beside: Any) -> None:
    back = unpack(pack([message, beside]))
    assert back == [message, beside and list(beside)]
    assert unpack_batch(pack([message, beside]) + pack(1), 2) == [back, 1]


def test_a_timestamp_is_a_datetime() -> None:
    assert unpack(pack(msgpack.Timestamp(0))) == datetime.datetime.fromtimestamp(0, utc)


def in_lists(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def deep_in_calls(depth: int, function: Callable[[], Any]) -> Any:
    return function() if depth == 0 else deep_in_calls(depth - 1, function)


@pytest.mark.parametrize("leaf", [1, Colour.RED, datetime.datetime.now(utc)])
def test_a_message_may_be_nested_deeply(leaf: Any) -> None:
    message = in_lists(200, leaf)
    assert unpack(pack(message)) == message
    assert unpack(deep_in_calls(400, lambda: pack(message))) == message


class Other:
    pass


class Named:
    """Has a representation of its own."""

    def __init__(self, name: str | None) -> None:
        self.name = name

    def __repr__(self) -> str:
        if self.name is None:
            raise RuntimeError("it has none")
        return self.name


selfish_list: list[Any] = ["x"]
selfish_list.append({"again": selfish_list})
selfish_dict: dict[str, Any] = {}
selfish_dict["me"] = selfish_dict

REFUSED: list[tuple[Any, str]] = [
    ({"user": {"tags": ["a", "b", {"c"}]}}, 'message["user"]["tags"][2]: set'),
    (Other(), "message: Other"),
    ([Other], "message[0]: type"),
    ([1, 2, 1j], "message[2]: complex"),
    ({"a": [datetime.date(2026, 1, 1)]}, 'message["a"][0]: date'),
    ({"f": frozenset()}, 'message["f"]: frozenset'),
    ({"a": {7: {b"k": {1}}}}, "message[\"a\"][7][b'k']: set"),
    ({'say "hi"': {1}}, 'message["say \\"hi\\""]: set'),
    ({"grüße": {1}}, 'message["gr\\u00fc\\u00dfe"]: set'),
    ((1, (2, {3})), "message[1][1]: set"),
    (2**64, "message: int of more than 64 bits"),
    ({"n": [-(2**63) - 1]}, 'message["n"][0]: int of more than 64 bits'),
    ({2**64: 1}, "message[18446744073709551616]: int of more than 64 bits"),
    ("\ud800", "message: str with a lone surrogate"),
    (["ok", "\udfff"], "message[1]: str with a lone surrogate"),
    ({"\ud800": 1}, 'message["\\ud800"]: str with a lone surrogate'),
    ({"at": datetime.datetime(2026, 1, 1)}, 'message["at"]: datetime without a timezone'),
    ({(1, 2): 3}, "message: key (1, 2) of type tuple"),
    ({"a": {(1, 2): 3}}, 'message["a"]: key (1, 2) of type tuple'),
    ([{datetime.date(2026, 1, 1): 1}], "message[0]: key datetime.date(2026, 1, 1) of type date"),
    ({Named(None): 1}, "message: key <unprintable> of type Named"),
    ({Named("n" * 60): 1}, f"message: key {'n' * 60} of type Named"),
    ({Named("n" * 61): 1}, f"message: key {'n' * 57}… of type Named"),
    ({"a": 1, frozenset(): 1}, "message: key frozenset() of type frozenset"),
    ([msgpack.ExtType(5, b""), {1}], "message[1]: set"),
    ([msgpack.Timestamp(0), {1}], "message[1]: set"),
]


@pytest.mark.parametrize(("message", "complaint"), REFUSED, ids=[complaint for _, complaint in REFUSED])
def test_what_msgpack_cannot_carry_is_named_with_its_place(message: Any, complaint: str) -> None:
    with pytest.raises(SerializationError) as caught:
        pack(message)
    assert str(caught.value) == complaint
    assert isinstance(caught.value, ClusterError)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("message", [selfish_list, selfish_dict, in_lists(1100, 1), in_lists(100_000, 1)])
@pytest.mark.parametrize("calls", [0, 700])
def test_a_message_that_contains_itself_or_is_too_deep_is_refused(message: Any, calls: int) -> None:
    with pytest.raises(SerializationError, match="nested too deeply, or it contains itself"):
        deep_in_calls(calls, lambda: pack(message))


@pytest.mark.parametrize("depth", [*range(500, 520), *range(1015, 1030)])
@pytest.mark.parametrize("leaf", [1, Colour.RED, {1}])
def test_close_to_the_depth_limit_a_message_is_either_carried_or_refused(depth: int, leaf: Any) -> None:
    message = in_lists(depth, leaf)
    try:
        body = pack(message)
    except SerializationError:
        return
    # Not by ==, which itself recurses.
    assert pack(unpack(body)) == body


@pytest.mark.parametrize("hours", [14, -14])
def test_a_datetime_that_utc_cannot_hold_is_refused_by_its_sender(hours: int) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=hours))
    edge = datetime.datetime.min if hours > 0 else datetime.datetime.max
    with pytest.raises(SerializationError, match=r'^message\["at"\]: datetime'):
        pack({"at": edge.replace(tzinfo=zone)})


@given(st.lists(st.sampled_from(["list", "dict", "tuple"]), max_size=6), messages)
def test_the_place_of_a_culprit_is_found_wherever_it_stands(containers: list[str], harmless: Any) -> None:
    message: Any = {1, 2}
    place = ""
    for container in containers:
        if container == "dict":
            message, place = {"a": harmless, "k": message}, '["k"]' + place
        elif container == "list":
            message, place = [harmless, message], "[1]" + place
        else:
            message, place = (harmless, harmless, message), "[2]" + place
    with pytest.raises(SerializationError) as caught:
        pack(message)
    assert str(caught.value) == f"message{place}: set"


def test_packing_goes_on_after_a_refusal() -> None:
    with pytest.raises(SerializationError):
        pack(["x" * 1000, {1}])
    assert unpack(pack(["y"])) == ["y"]


def test_a_message_of_the_limit_passes_and_one_byte_more_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_MESSAGE < MAX_FRAME
    monkeypatch.setattr(codec, "MAX_MESSAGE", 1000)
    monkeypatch.setattr(codec, "MAX_CONTAINERS", 100)  # only what is longer is looked at
    assert len(pack(b"x" * 997)) == 1000
    with pytest.raises(MessageTooLargeError, match=r"^the message has 1001 bytes packed; the limit is 1000$"):
        pack(b"x" * 998)
    assert issubclass(MessageTooLargeError, ValueError)


@pytest.mark.parametrize("one", [{}, []])
def test_a_message_holds_only_so_many_lists_and_dicts(one: Any) -> None:
    """An empty dict takes a byte packed and 72 unpacked: the limit of bytes alone would let 4.8 GB through."""
    assert len(unpack(pack([one] * (MAX_CONTAINERS - 1)))) == MAX_CONTAINERS - 1
    with pytest.raises(
        MessageTooLargeError, match=r"^the message holds more lists and dicts than the limit of 1048576$"
    ):
        pack([one] * MAX_CONTAINERS)
    hostile = b"\xdd" + struct.pack(">I", 2**20) + (b"\x80" if one == {} else b"\x90") * 2**20
    with pytest.raises(ProtocolError, match=r"are not a message: the message holds more lists and dicts"):
        unpack(hostile)


@pytest.mark.parametrize("value", ["\u00e4" * 600_000, bytes(range(256)) * 30_000, [129] * 600_000, [1.5] * 300_000])
def test_what_only_looks_like_many_lists_is_none(value: Any) -> None:
    body = pack(value)
    assert len(body) > MAX_CONTAINERS
    assert unpack(body) == value


def test_a_message_of_the_true_limit_fits_into_a_frame() -> None:
    body = pack(b"x" * (MAX_MESSAGE - 5))
    assert len(body) == MAX_MESSAGE
    assert len(encode(1, 2**32, 2**32, body)) - 4 <= MAX_FRAME
    with pytest.raises(MessageTooLargeError):
        pack(b"x" * (MAX_MESSAGE - 4))


NO_MESSAGES = {
    name: body
    for name, body in NO_FRAMES.items()
    if name
    in {
        "nothing",
        "a byte that msgpack never uses",
        "an array cut short",
        "bytes after the array",
        "text that is no UTF-8",
        "an array that claims four thousand million fields",
        "a map that claims as many",
        "bin that claims as many",
        "an array as a key",
        "a timestamp of the wrong length",
        "lists in lists",
    }
}


@pytest.mark.parametrize("body", NO_MESSAGES.values(), ids=NO_MESSAGES.keys())
def test_what_is_no_message_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=rf"^{len(body)} bytes are not a message: "):
        unpack(body)
    with pytest.raises(ProtocolError, match=rf"^{1 + len(body)} bytes (are not messages: |hold [13] messages, not 2$)"):
        list(unpack_batch(pack(1) + body, 2))


@given(st.binary(max_size=2000), st.integers(0, 20))
@example(b"", 1)
@example(b"\x01\x02\x03", 2)
@example(b"\x01", 2)
@example(b"\x01\x92\x01", 1)
def test_random_bytes_are_messages_or_a_protocol_error(body: bytes, count: int) -> None:
    try:
        unpack(body)
    except ProtocolError:
        pass
    try:
        found = list(unpack_batch(body, count))
    except ProtocolError:
        pass
    else:
        assert len(found) == count


@given(messages, st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=5))
def test_mutated_messages_raise_nothing_but_protocol_error(message: Any, changes: list[tuple[int, int]]) -> None:
    data = bytearray(pack(message))
    for place, byte in changes:
        data[place % len(data)] = byte
    for unpacked in (lambda: unpack(bytes(data)), lambda: list(unpack_batch(bytes(data), 1))):
        try:
            unpacked()
        except ProtocolError:
            pass
