"""From a frame that arrived to the handler of its kind."""

from __future__ import annotations

import os
from typing import Any

import pytest

from aiocluster._wire import frames
from aiocluster._wire.descriptors import Descriptors
from aiocluster._wire.frame import Dispatch, Frame, on, on_descriptors, on_ints
from aiocluster.errors import ProtocolError


def no_descriptors() -> Descriptors:
    raise AssertionError("there are none")


def pipes() -> tuple[list[int], Descriptors]:
    fds = list(os.pipe())
    return fds, Descriptors(list(fds))


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_handler_gets_the_frame() -> None:
    heard: list[frames.Serving] = []
    Dispatch(frames.WORKER, [on(frames.Serving, heard.append)])([frames.Serving.tag, 7], no_descriptors)
    assert heard == [frames.Serving(7)]


def test_the_handler_of_an_often_sent_kind_gets_the_numbers() -> None:
    heard: list[tuple[int, ...]] = []
    dispatch = Dispatch(frames.WORKER, [on_ints(frames.Taken, lambda *fields: heard.append(fields))])
    dispatch([frames.TAKEN, 1, 2, 3], no_descriptors)
    assert heard == [(1, 2, 3)]
    for wrong in (
        [frames.TAKEN, 1, 2],
        [frames.TAKEN, 1, 2, 3, 4],
        [frames.TAKEN, 1, True, 3],
        [frames.TAKEN, 1, 2.0, 3],
    ):
        with pytest.raises(ProtocolError, match=r"^Taken"):
            dispatch(wrong, no_descriptors)
    assert len(heard) == 1


@pytest.mark.parametrize("frame", [[frames.Online.tag], [250], ["text"], [None]])
def test_what_this_sender_does_not_send_is_refused(frame: list[Any]) -> None:
    dispatch = Dispatch(frames.WORKER, [on(frames.Detached, lambda frame: None)])
    with pytest.raises(ProtocolError, match=r"^the worker sent a frame of unknown kind"):
        dispatch(frame, no_descriptors)


def test_a_handler_for_what_the_sender_never_sends_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="Leave is not sent by the worker"):
        Dispatch(frames.WORKER, [on(frames.Leave, lambda frame: None)])


def test_descriptors_that_a_handler_does_not_take_are_closed() -> None:
    fds, descriptors = pipes()
    Dispatch(frames.PRIMARY, [on_descriptors(frames.Listened, lambda frame, descriptors: None)])(
        [frames.Listened.tag, 1, 2, True], lambda: descriptors
    )
    assert not any(map(is_open, fds))


def test_descriptors_that_a_handler_takes_are_its_own() -> None:
    fds, descriptors = pipes()
    taken: list[int] = []
    Dispatch(
        frames.PRIMARY,
        [on_ints(frames.Connections, lambda descriptors, port, count, may_pull: taken.extend(descriptors.take()))],
    )([frames.CONNECTIONS, 1, 2, 0], lambda: descriptors)
    assert taken == fds
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("kind", [frames.Listened, frames.Connections])
def test_descriptors_are_closed_when_a_handler_raises(kind: type[Frame]) -> None:
    def fail(*args: Any) -> None:
        raise KeyError("ours")

    fds, descriptors = pipes()
    route = on_ints(kind, fail) if kind is frames.Connections else on_descriptors(kind, fail)
    fields = [1, 2, 0] if kind is frames.Connections else [1, 2, True]
    with pytest.raises(KeyError):
        Dispatch(frames.PRIMARY, [route])([kind.tag, *fields], lambda: descriptors)
    assert not any(map(is_open, fds))
