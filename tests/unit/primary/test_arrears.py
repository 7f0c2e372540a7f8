"""What may wait in the primary for a worker that does not read."""

from __future__ import annotations

import pytest

from aiocluster._primary.arrears import MOST, Arrears, Waiting
from aiocluster.errors import ProtocolError

A, B, C = 1, 2, 3


def test_each_sender_has_so_much_for_each_receiver() -> None:
    arrears = Arrears()
    arrears.add(A, C, MOST)
    arrears.add(B, C, MOST)
    arrears.add(A, B, MOST)
    with pytest.raises(ProtocolError, match=rf"^{MOST + 1} bytes wait for pid 3: more than the windows allow$"):
        arrears.add(A, C, 1)


def test_what_has_left_no_longer_counts() -> None:
    arrears = Arrears()
    frame = bytes(MOST // 2)
    waiting = [Waiting(arrears, A, C, frame), Waiting(arrears, A, C, frame)]
    with pytest.raises(ProtocolError):
        Waiting(arrears, A, C, b"x")
    assert waiting[0].render() == frame
    Waiting(arrears, A, C, frame)
    with pytest.raises(ProtocolError):
        Waiting(arrears, A, C, b"x")


def test_nothing_waits_for_who_is_gone_nor_of_it() -> None:
    arrears = Arrears()
    arrears.add(A, C, MOST)
    arrears.add(C, A, MOST)
    arrears.add(A, B, MOST)
    arrears.forget(C)
    arrears.add(A, C, MOST)
    arrears.add(C, A, MOST)
    with pytest.raises(ProtocolError):
        arrears.add(A, B, 1)
    arrears.remove(A, B, MOST)
    arrears.remove(A, B, MOST)  # a frame that was dropped with its receiver may say so later
    arrears.add(A, B, MOST)
