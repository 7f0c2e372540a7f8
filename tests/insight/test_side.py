"""What a worker tells on its side channel is whole, whatever becomes of it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from types import FrameType

import pytest

from aiocluster._wire.codec import Decoder
from aiocluster._wire.frames import LogRecord
from aiocluster._worker import side
from aiocluster._worker.side import Side

BODY = b"x" * 1000


@pytest.fixture
def ends() -> Iterator[tuple[Side, socket.socket]]:
    """The worker's end of a side channel, and the primary's."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        found = Side(theirs.detach())
        yield found, ours
        found.abandon()


def numbers(ours: socket.socket, decoder: Decoder) -> list[int]:
    """The numbers in the frames that have arrived."""
    found: list[int] = []
    while True:
        try:
            data = ours.recv(65536)
        except BlockingIOError:
            return found
        if not data:
            return found
        found += [LogRecord.parse(frame).lost for frame in decoder.feed(data)]


def test_what_there_is_no_room_for_is_left_out_whole(
    ends: tuple[Side, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side, "_ROOM_WITHIN", 0.01)
    ours_side, ours = ends
    decoder = Decoder()
    told = [number for number in range(2000) if ours_side.tell(LogRecord(number, BODY))]
    assert 0 < len(told) < 2000
    found = numbers(ours, decoder)
    assert ours_side.tell(LogRecord(5000, BODY))  # and the rest of what was begun
    found += numbers(ours, decoder)
    assert found == [*told, 5000]
    assert ours_side.is_open


def test_a_signal_handler_may_raise_and_tell(ends: tuple[Side, socket.socket]) -> None:
    ours_side, ours = ends

    class Interrupted(Exception):
        pass

    def interrupt(number: int, frame: FrameType | None) -> None:
        assert ours_side.tell(LogRecord(9999, BODY))
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    told = 0
    try:
        with pytest.raises(Interrupted):
            while True:
                if ours_side._rest:
                    break
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                ours_side.tell(LogRecord(told, BODY))
                told += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    decoder = Decoder()
    found = numbers(ours, decoder)
    assert ours_side.tell(LogRecord(5000, BODY))
    found += numbers(ours, decoder)
    assert found == [*range(told + 1), 5000, 9999]


def test_it_knows_that_the_primary_has_gone(ends: tuple[Side, socket.socket]) -> None:
    ours_side, ours = ends
    ours.close()
    assert not ours_side.tell(LogRecord(0, BODY))
    assert not ours_side.is_open
