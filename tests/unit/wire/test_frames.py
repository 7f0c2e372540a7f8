"""The vocabulary: what each frame holds comes out as it went in, and anything else is refused."""

from __future__ import annotations

import socket
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocluster._bind import BindAddress
from aiocluster._wire import frames
from aiocluster._wire.codec import Decoder, flow_fields
from aiocluster._wire.endpoint import Endpoint
from aiocluster._wire.frame import Frame, Record
from aiocluster._wire.frames import WorkerConfig
from aiocluster.errors import ProtocolError


def all_frames() -> list[type[Frame]]:
    found, waiting = [], [Frame]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if hasattr(kind, "tag"):
            found.append(kind)
    return sorted(found, key=lambda kind: kind.tag)


FRAMES = all_frames()
INT = st.integers(-(2**63), 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INT | st.floats() | TEXT | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    int: INT,
    float: st.floats(allow_nan=False),
    str: TEXT,
    bytes: st.binary(max_size=8),
    bool: st.booleans(),
    type(None): st.none(),
    Any: st.none() | INT | TEXT,
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of that type."""
    if hint in SCALARS:
        return SCALARS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return st.one_of(*map(values_of, arguments))
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)
    if issubclass(hint, Record):
        return records_of(hint)
    return st.builds(hint, *map(values_of, get_type_hints(hint).values()))


def records_of(kind: type[Record]) -> st.SearchStrategy[Any]:
    return st.builds(kind, *(values_of(hint) for hint in kind.types().values()))


def sent(frame: Frame) -> list[Any]:
    """What arrives of a frame."""
    (array,) = Decoder().feed(frame.encode())
    return list(array)


@pytest.mark.parametrize("kind", FRAMES, ids=lambda kind: kind.__name__)
@given(st.data())
@settings(max_examples=20)  # of each of some forty kinds
def test_each_frame_arrives_as_it_was(kind: type[Frame], data: st.DataObject) -> None:
    frame = data.draw(records_of(kind))
    array = sent(frame)
    assert array[0] == kind.tag
    assert kind.parse(array) == frame


@pytest.mark.parametrize("kind", FRAMES, ids=lambda kind: kind.__name__)
@given(st.data())
@settings(max_examples=20)  # of each of some forty kinds
def test_other_fields_are_refused_and_nothing_else_is_raised(kind: type[Frame], data: st.DataObject) -> None:
    array = sent(data.draw(records_of(kind)))
    for _ in range(data.draw(st.integers(1, 2))):
        where = data.draw(st.integers(1, len(array)))
        if data.draw(st.booleans()):
            array[where : where + 1] = [data.draw(ANYTHING)]
        else:
            array[where : where + 1] = data.draw(st.lists(ANYTHING, max_size=2))
    try:
        assert kind.parse(array).array()[0] == kind.tag  # it may fit by chance
    except ProtocolError:
        pass


@pytest.mark.parametrize("kind", FRAMES, ids=lambda kind: kind.__name__)
def test_each_field_of_another_type_is_refused(kind: type[Frame]) -> None:
    good: list[Any] = [kind.tag, *(EXAMPLES[str(hint)] for hint in kind.types().values())]
    kind.parse(good)
    for position, (name, hint) in enumerate(kind.types().items(), 1):
        if hint is not Any:
            bad = [*good[:position], object(), *good[position + 1 :]]
            with pytest.raises(ProtocolError, match=rf"^{kind.__name__}\(.*{name}.*\): object in place of "):
                kind.parse(bad)
    for wrong in (good[:-1] if len(good) > 1 else [*good, 1], [*good, None]):
        with pytest.raises(ProtocolError, match=f"^{kind.__name__} has {len(good) - 1} fields, not {len(wrong) - 1}$"):
            kind.parse(wrong)


EXAMPLES = {
    "<class 'int'>": 1,
    "<class 'float'>": 0.5,
    "<class 'str'>": "text",
    "<class 'bytes'>": b"bytes",
    "<class 'bool'>": True,
    "int | None": None,
    "int | str": 1,
    "bool | None": None,
    "float | None": None,
    "str | None": None,
    "dict[str, str]": {},
    "dict[int, str | None]": {},
    "list[str]": [],
    "list[typing.Any]": [],
    "list[int] | None": None,
    "list[aiocluster._wire.frames.Remote]": [[2**31, "host-1", 100, True]],
    str(BindAddress): list(BindAddress("127.0.0.1", 8000)),
    str(Endpoint): list(Endpoint(2, 1, "127.0.0.1", 80)),
    str(frames.TargetName): ["script", "/a/script.py"],
}


def test_a_bool_is_no_number() -> None:
    with pytest.raises(ProtocolError, match="bool in place of int"):
        frames.Serving.parse([frames.Serving.tag, True])


def test_a_whole_number_is_a_number_of_seconds() -> None:
    assert frames.Leave.parse([frames.Leave.tag, 3]) == frames.Leave(3)


@pytest.mark.parametrize("array", [None, [], {}, 26, "leave", [27, 1.0], ["26", 1.0]])
def test_what_is_no_such_frame_is_refused(array: Any) -> None:
    with pytest.raises(ProtocolError, match=r"in place of Leave$"):
        frames.Leave.parse(array)


@pytest.mark.parametrize("target", [[], ["nonsense"], ["script"], ["script", 1], [["script"], "x"], "script", None])
def test_what_is_no_target_is_refused(target: Any) -> None:
    config = [WorkerConfig.tag, *(EXAMPLES[str(hint)] for hint in WorkerConfig.types().values())]
    config[1] = target
    with pytest.raises(ProtocolError):
        WorkerConfig.parse(config)


def test_kinds_have_numbers_of_their_own_and_senders_and_say_what_they_are() -> None:
    assert len({kind.tag for kind in FRAMES}) == len(FRAMES)
    for kind in FRAMES:
        assert kind.by, kind
        assert kind.__doc__, kind


def test_the_kinds_of_the_flow_are_numbered_without_a_gap() -> None:
    assert [kind.tag for kind in FRAMES if issubclass(kind, frames.FlowFrame)] == list(frames.FLOW)


def test_only_a_primary_has_functions_called() -> None:
    assert frames.Call.by == (frames.PRIMARY,)


@given(st.lists(ANYTHING, max_size=5))
def test_the_fields_of_the_flow_are_checked(fields: list[Any]) -> None:
    array = [frames.MESSAGES, *fields]
    if list(map(type, fields)) == [int, int, bytes]:
        assert flow_fields(array) == tuple(array)
    else:
        with pytest.raises(ProtocolError):
            flow_fields(array)


# ---- records


def test_a_record_is_frozen_equal_by_value_and_readable() -> None:
    one = frames.Forked(1, pid=2)
    assert one == frames.Forked(1, 2) != frames.Forked(1, 3)
    assert one != frames.Unforked(1, 2)
    assert hash(one) == hash(frames.Forked(1, 2))
    assert repr(one) == "Forked(number=1, pid=2)"
    with pytest.raises(AttributeError, match="Forked is frozen"):
        one.pid = 3  # type: ignore[misc]


def test_a_record_has_its_defaults_and_no_other_fields() -> None:
    assert frames.FunctionTarget("module", "name").array() == ["function", "module", "name", None, False]
    with pytest.raises(TypeError, match="Forked has the fields number, pid"):
        frames.Forked(1, 2, 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Forked has the fields number, pid"):
        frames.Forked(1, 2, nonsense=3)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        frames.Forked(1)  # type: ignore[call-arg]


def test_records_among_the_fields_become_arrays_and_records_again() -> None:
    target = frames.FunctionTarget("__mp_main__", "serve", frames.MainTarget(path="/a/main.py"))
    assert target.array() == ["function", "__mp_main__", "serve", ["main", None, "/a/main.py"], False]
    assert frames.FunctionTarget.parse(target.array()) == target


def test_an_endpoint_is_one_again() -> None:
    endpoint = Endpoint(int(socket.AF_INET), int(socket.SOCK_STREAM), "127.0.0.1", 80)
    assert frames.Listen.parse(sent(frames.Listen(1, endpoint, 100, None, None, None, True))).endpoint == endpoint
