"""The base of all kinds of frames: typed fields, their encoding and their check, and the dispatch of received frames.

A subclass of `Record` lists its fields as annotations, as a dataclass does. They define its constructor, its array, and
the check of an array that the other process sent. The classes are cheap to create: a worker creates all of them when it
starts, and a dataclass costs a hundred times as much. `frames` defines the kinds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from ..errors import MessageTooLargeError, ProtocolError
from .codec import MAX_FRAME, RawFrame, encode
from .descriptors import Descriptors

Tag = int | str
Check = Callable[[Any], Any]


@dataclass_transform(eq_default=True, frozen_default=True)
class Record:
    """A tuple of typed fields. A subclass has its tag as a class argument: ``class Leave(Record, tag=26)``."""

    tag: ClassVar[Tag]
    fields: ClassVar[tuple[str, ...]] = ()
    _checks: ClassVar[tuple[Check, ...] | None] = None
    _owner: ClassVar[type[Record]]
    """The class that annotates the fields."""

    def __init_subclass__(cls, *, tag: Tag | None = None) -> None:
        if tag is not None:
            cls.tag = tag
        own = tuple(name for name, hint in cls.__annotations__.items() if not str(hint).startswith("ClassVar"))
        if own:
            cls.fields, cls._owner = own, cls
        cls._checks = None

    def __init__(self, *values: Any, **named: Any) -> None:
        given = {**dict(zip(self.fields, values, strict=False)), **named}
        for name in self.fields:
            value = given.pop(name) if name in given else getattr(type(self), name)
            object.__setattr__(self, name, value)
        if given or len(values) > len(self.fields):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(self.fields)}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.tag, *self._values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def _values(self) -> Iterator[Any]:
        return (getattr(self, name) for name in self.fields)

    def array(self) -> list[Any]:
        """The tag and the fields; records among them become arrays too."""
        return [self.tag, *(value.array() if isinstance(value, Record) else value for value in self._values())]

    @classmethod
    def check(cls, array: Any) -> list[Any]:
        """The fields of an array, with their types checked.

        Raises:
            ProtocolError: It has another tag or length, or a field is of another type.
        """
        if type(array) is not list or not array or array[0] != cls.tag:
            raise ProtocolError(f"{array!r:.60} in place of {cls.__name__}")
        checks = cls._checks if cls._checks is not None else cls.prepare()
        if len(array) != len(checks) + 1:
            raise ProtocolError(f"{cls.__name__} has {len(checks)} fields, not {len(array) - 1}")
        try:
            return [check(value) for check, value in zip(checks, array[1:], strict=True)]
        except _Mismatch as error:
            raise ProtocolError(f"{cls.__name__}({', '.join(cls.fields)}): {error}") from None

    @classmethod
    def prepare(cls) -> tuple[Check, ...]:
        """Makes the checks of the fields, which the first check would do."""
        cls._checks = tuple(_check_of(hint) for hint in cls.types().values())
        return cls._checks

    @classmethod
    def parse(cls, array: Any) -> Self:
        """The record of an array.

        Raises:
            ProtocolError: The array is not one of this kind.
        """
        return cls(*cls.check(array))

    @classmethod
    def types(cls) -> dict[str, Any]:
        """The fields' types by name."""
        # Not `typing.get_type_hints`, which takes much longer: each worker asks when it starts.
        return {
            name: eval(cls._owner.__annotations__[name], vars(sys.modules[cls._owner.__module__]))
            for name in cls.fields
        }


class Frame(Record):
    """A kind of frame. ``by`` names its senders; ``descriptors`` says whether descriptors come with it."""

    tag: ClassVar[int]
    by: ClassVar[tuple[str, ...]] = ()
    descriptors: ClassVar[bool] = False

    def __init_subclass__(
        cls, *, tag: int | None = None, by: tuple[str, ...] | str | None = None, descriptors: bool = False
    ) -> None:
        super().__init_subclass__(tag=tag)
        if by is not None:
            cls.by = (by,) if isinstance(by, str) else by
        cls.descriptors = descriptors

    def encode(self) -> bytes:
        """The frame as bytes.

        Raises:
            MessageTooLargeError: The other process would not accept a frame of this length.
        """
        frame = encode(*self.array())
        if len(frame) > MAX_FRAME:
            raise MessageTooLargeError(f"{type(self).__name__} has {len(frame)} bytes packed; the limit is {MAX_FRAME}")
        return frame


# ---- dispatch

F = TypeVar("F", bound=Frame)

TakeDescriptors = Callable[[], Descriptors]
Receiver = Callable[[RawFrame, TakeDescriptors], None]
Route = tuple[type[Frame], Receiver]


def on(kind: type[F], handler: Callable[[F], None]) -> Route:
    """Routes frames of that kind to ``handler``, as objects."""

    def receive(frame: RawFrame, take: TakeDescriptors) -> None:
        handler(kind.parse(frame))

    return kind, receive


def on_descriptors(kind: type[F], handler: Callable[[F, Descriptors], None]) -> Route:
    """Like `on`, for a kind with descriptors. Those that the handler has not taken are closed after it returns."""

    def receive(frame: RawFrame, take: TakeDescriptors) -> None:
        parsed = kind.parse(frame)
        descriptors = take()
        try:
            handler(parsed, descriptors)
        finally:
            descriptors.close()

    return kind, receive


def on_ints(kind: type[Frame], handler: Callable[..., None]) -> Route:
    """Like `on`, for a kind that is sent often and whose fields are all ints: they are the handler's arguments.

    If the kind has descriptors, they are the first argument. Those that the handler has not taken are closed.
    """
    types = [int] * (len(kind.fields) + 1)

    def receive(frame: RawFrame, take: TakeDescriptors) -> None:
        if list(map(type, frame)) != types:
            kind.check(frame)  # raises
        handler(*frame[1:])

    def receive_descriptors(frame: RawFrame, take: TakeDescriptors) -> None:
        if list(map(type, frame)) != types:
            kind.check(frame)  # raises
        descriptors = take()
        try:
            handler(descriptors, *frame[1:])
        finally:
            descriptors.close()

    return kind, receive_descriptors if kind.descriptors else receive


class Dispatch(dict[Any, Receiver]):
    """The receivers of the frames that one end of a channel hears, by kind: ``dispatch[frame[0]](frame, take)``.

    A receiver raises ProtocolError if a field is of the wrong type; so does the look-up of a kind that this sender may
    not send.

    Args:
        sender: Who sends them, such as ``frames.WORKER``.
        routes: The results of `on`, `on_descriptors` and `on_ints`.
    """

    def __init__(self, sender: str, routes: Iterable[Route]) -> None:
        self._sender = sender
        self.add(routes)

    def add(self, routes: Iterable[Route]) -> None:
        """Adds receivers of further kinds."""
        for kind, receiver in routes:
            assert self._sender in kind.by, f"{kind.__name__} is not sent by the {self._sender}"
            self[kind.tag] = receiver

    def __missing__(self, kind: Any) -> Receiver:
        raise ProtocolError(f"the {self._sender} sent a frame of unknown kind {kind}")

    def __call__(self, frame: RawFrame, take: TakeDescriptors) -> None:
        """Passes a frame to its receiver, as `Channel.attach` asks for."""
        self[frame[0]](frame, take)


# ---- checks


class _Mismatch(Exception):
    """A value is not of the expected type."""


def _check_of(hint: Any) -> Check:
    """A function that checks a value of that type and returns it. It turns arrays of records into records."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda value: value
    if origin is UnionType:
        return _one_of(arguments)
    if origin is list:
        return _items(_check_of(arguments[0]))
    if origin is dict:
        return _entries(*map(_check_of, arguments))
    if issubclass(hint, Record):
        return _record({hint.tag: hint})
    if issubclass(hint, tuple):
        return _named_tuple(hint)
    if hint is float:
        return _exactly(int, float)
    return _exactly(hint)


def _exactly(*types: type) -> Check:
    def check(value: Any) -> Any:
        if type(value) not in types:  # not isinstance: a bool is not an int here
            raise _Mismatch(f"{type(value).__name__} in place of {types[-1].__name__}")
        return value

    return check


def _one_of(hints: tuple[Any, ...]) -> Check:
    records = {hint.tag: hint for hint in hints if isinstance(hint, type) and issubclass(hint, Record)}
    checks = {hint if hint is not None else NoneType: _check_of(hint) for hint in hints if hint not in records.values()}
    by_type: dict[type, Check] = {get_origin(hint) or hint: check for hint, check in checks.items()}
    if records:
        by_type[list] = _record(records)

    def check(value: Any) -> Any:
        if type(value) not in by_type:
            raise _Mismatch(f"{type(value).__name__} in place of {' | '.join(kind.__name__ for kind in by_type)}")
        return by_type[type(value)](value)

    return check


def _record(classes: Mapping[Tag, type[Record]]) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not list or not value or not isinstance(value[0], (int, str)) or value[0] not in classes:
            raise _Mismatch(
                f"{type(value).__name__} in place of {' | '.join(one.__name__ for one in classes.values())}"
            )
        return classes[value[0]].parse(value)

    return check


def _named_tuple(kind: Any) -> Check:
    checks = [_check_of(one) for one in get_type_hints(kind).values()]

    def check(value: Any) -> Any:
        if type(value) is not list or len(value) != len(checks):
            raise _Mismatch(f"{type(value).__name__} in place of {kind.__name__}")
        return kind(*(check(item) for check, item in zip(checks, value, strict=True)))

    return check


def _items(check_item: Check) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not list:
            raise _Mismatch(f"{type(value).__name__} in place of list")
        return [check_item(item) for item in value]

    return check


def _entries(check_key: Check, check_value: Check) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not dict:
            raise _Mismatch(f"{type(value).__name__} in place of dict")
        return {check_key(key): check_value(item) for key, item in value.items()}

    return check
