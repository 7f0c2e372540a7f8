"""What a look inside this worker finds. Runs in threads of its own, so that a blocked loop can be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..._wire import frames
from ..._wire.codec import pack
from .profile import profile
from .stacks import stacks
from .tasks import tasks

if TYPE_CHECKING:
    from ..session import Session

_PART = 128 * 1024  # bytes: what the primary accepts in a frame


def answer(session: Session, asked: frames.Inspect) -> Iterator[frames.Inspected]:
    """Looks, and returns the frames of the answer. What fails is told there, too, as ``error``."""
    try:
        body = pack(_look(session, asked))
    except Exception as error:  # the asking person is to know
        body = pack({"error": f"{type(error).__name__}: {error}"[:1000]})
    for begin in range(0, len(body), _PART):
        yield frames.Inspected(asked.number, body[begin : begin + _PART], begin + _PART >= len(body))


def _look(session: Session, asked: frames.Inspect) -> dict[str, Any]:
    match asked.what:
        case "tasks":
            return tasks(session.loop)
        case "stacks":
            return {"threads": stacks(), **tasks(session.loop)}
        case "profile":
            return profile(asked.seconds, asked.rate)
    raise ValueError(f"this worker can't show {asked.what!r}: it is older than its primary")
