"""What the command asks of a cluster, and what it is told. Pure.

A connection carries one request and its answers, as frames (`_wire.codec`): first any number of `Progress`, then one
`Done` or `Refused`. Nothing in them is code, or names any.
"""

from __future__ import annotations

from typing import Any, Final

from .._wire.codec import MAX_FRAME, MAX_FRAME_OF_PEER, Decoder, RawFrame, encode
from .._wire.frame import Record
from ..errors import ProtocolError

MAX_REQUEST: Final = MAX_FRAME_OF_PEER
"""The longest request, in bytes: a whole environment. A security limit, see there."""

MAX_ANSWER: Final = MAX_FRAME
"""The longest answer, in bytes. Of thousands of workers it is a few megabytes."""


class Describe(Record, tag=1):
    """All that is known of the cluster and its workers."""


class Up(Record, tag=2):
    """Wait until the first workers are online and one listens, or ``seconds`` have gone since they are online."""

    seconds: float


class Reload(Record, tag=3):
    """Replace all workers; before that, add ``env`` to the primary's environment."""

    env: dict[str, str] | None


class Scale(Record, tag=4):
    """Run so many workers, or as many as the load needs within these bounds."""

    low: int
    high: int


class Resize(Record, tag=5):
    """Run so many workers more, or fewer if it is negative."""

    by: int


class Stop(Record, tag=6):
    """Stop: gracefully, or at once."""

    graceful: bool


class Inspect(Record, tag=7):
    """Look inside the worker of that slot, or the agent of that name; None: inside all of them.

    ``what`` is ``tasks``, ``stacks`` or ``profile``; a profile takes so many seconds, and looks ``rate`` times in each.
    The answer has ``workers``, each with what was found (``found``, a packed dict) or why there is nothing (``error``).
    """

    place: int | str | None
    what: str
    seconds: float
    rate: float


class Progress(Record, tag=64):
    """What has happened meanwhile: to a worker, in fields as JSON carries them."""

    event: dict[str, Any]


class Done(Record, tag=65):
    """It is done; with what was asked for."""

    body: dict[str, Any]


class Refused(Record, tag=66):
    """It was not done; the text says why."""

    text: str


Request = Describe | Up | Reload | Scale | Resize | Stop | Inspect
Answer = Progress | Done | Refused

_REQUESTS: Final[dict[Any, type[Request]]] = {
    kind.tag: kind for kind in (Describe, Up, Reload, Scale, Resize, Stop, Inspect)
}
_ANSWERS: Final[dict[Any, type[Answer]]] = {kind.tag: kind for kind in (Progress, Done, Refused)}


def encoded(record: Request | Answer) -> bytes:
    """Returns a request or an answer as bytes."""
    return encode(*record.array())


def request(frame: RawFrame) -> Request:
    """Returns the request of a frame.

    Raises:
        ProtocolError: It is none.
    """
    kind = _REQUESTS.get(frame[0])
    if kind is None:
        raise ProtocolError(f"no request has the number {frame[0]}: is the command newer than the cluster?")
    return kind.parse(frame)


def answer(frame: RawFrame) -> Answer:
    """Returns the answer of a frame.

    Raises:
        ProtocolError: It is none.
    """
    kind = _ANSWERS.get(frame[0])
    if kind is None:
        raise ProtocolError(f"no answer has the number {frame[0]}: is the cluster newer than the command?")
    return kind.parse(frame)


def requests() -> Decoder:
    """Returns what takes bytes and gives the frames of requests."""
    return Decoder(MAX_REQUEST)


def answers() -> Decoder:
    """Returns what takes bytes and gives the frames of answers."""
    return Decoder(MAX_ANSWER)
