"""From a frame that arrived to the handler of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..errors import ProtocolError
from .codec import Frame as Array
from .descriptors import Descriptors
from .frames import Frame

F = TypeVar("F", bound=Frame)

TakeDescriptors = Callable[[], Descriptors]
Receiver = Callable[[Array, TakeDescriptors], None]
Route = tuple[type[Frame], Receiver]


def on(kind: type[F], handler: Callable[[F], None]) -> Route:
    """Frames of that kind go to ``handler``, as objects."""

    def receive(frame: Array, take: TakeDescriptors) -> None:
        handler(kind.parse(frame))

    return kind, receive


def on_descriptors(kind: type[F], handler: Callable[[F, Descriptors], None]) -> Route:
    """The same for a kind with descriptors; those that the handler has not taken are closed after it."""

    def receive(frame: Array, take: TakeDescriptors) -> None:
        parsed = kind.parse(frame)
        descriptors = take()
        try:
            handler(parsed, descriptors)
        finally:
            descriptors.close()

    return kind, receive


def on_ints(kind: type[Frame], handler: Callable[..., None]) -> Route:
    """The same for a kind that is sent often and holds numbers only: they are the handler's arguments.

    Descriptors, if the kind has some, come before them. There, too, those that are not taken are closed.
    """
    types = [int] * (len(kind.fields) + 1)

    def receive(frame: Array, take: TakeDescriptors) -> None:
        if list(map(type, frame)) != types:
            kind.check(frame)  # raises
        handler(*frame[1:])

    def receive_descriptors(frame: Array, take: TakeDescriptors) -> None:
        if list(map(type, frame)) != types:
            kind.check(frame)  # raises
        descriptors = take()
        try:
            handler(descriptors, *frame[1:])
        finally:
            descriptors.close()

    return kind, receive_descriptors if kind.descriptors else receive


class Dispatch:
    """The frames that one end of a channel hears.

    Args:
        sender: Who sends them: ``frames.WORKER`` for example.
        routes: What `on`, `on_descriptors` and `on_ints` return.
    """

    def __init__(self, sender: str, routes: Iterable[Route]) -> None:
        self._sender = sender
        self._receivers: dict[Any, Receiver] = {}
        for kind, receiver in routes:
            assert sender in kind.by, f"{kind.__name__} is not sent by the {sender}"
            self._receivers[kind.tag] = receiver

    def __call__(self, frame: Array, take: TakeDescriptors) -> None:
        """Hands a frame to its handler.

        Raises:
            ProtocolError: This sender sends no such frame, or its fields are of the wrong types.
        """
        receiver = self._receivers.get(frame[0])
        if receiver is None:
            raise ProtocolError(f"the {self._sender} sent a frame of unknown kind {frame[0]}")
        receiver(frame, take)
