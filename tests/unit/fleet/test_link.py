"""Numbered batches between two clusters: nothing is lost or doubled, whatever a channel loses or repeats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster import ProtocolError
from aiocluster._fleet.letters import Batch, FlowFields, parse
from aiocluster._fleet.link import MOST, WINDOW, Link
from aiocluster._wire import frames as kinds


def frame(number: int, size: int = 10) -> FlowFields:
    return kinds.MESSAGES, 1, 2, number, bytes(size)


def batches(sent: list[bytes]) -> list[Batch]:
    found = [parse(data) for data in sent]
    assert all(isinstance(one, Batch) for one in found)
    return [one for one in found if isinstance(one, Batch)]


def deliver(link: Link, sent: list[bytes]) -> list[int]:
    """The numbers of the frames that have arrived."""
    return [fields[3] for batch in batches(sent) for fields in link.receive(batch)]


@given(st.lists(st.sampled_from(["put", "send", "send back", "lose", "again", "tick"]), max_size=60))
def test_what_is_put_arrives_once_and_in_order_whatever_is_lost(steps: list[str]) -> None:
    here, there = Link("a", 1, 1), Link("b", 1, 1)
    put: list[int] = []
    arrived: list[int] = []
    now = 0.0
    for step in steps:
        now += 1.0
        match step:
            case "put":
                put.append(len(put))
                here.put_flow(frame(put[-1]))
            case "send":
                arrived += deliver(there, here.due(now))
            case "send back":
                assert deliver(here, there.due(now, acks=True)) == []
            case "lose":
                here.due(now)
                there.due(now)
            case "again":
                here.again()
                there.again()
            case "tick":
                here.tick(now)
                there.tick(now)
        assert arrived == put[: len(arrived)]
    for _ in range(3):
        now += 1.0
        here.tick(now)
        arrived += deliver(there, here.due(now))
        deliver(here, there.due(now, acks=True))
    assert arrived == put


def test_it_sends_no_more_than_a_window_ahead() -> None:
    here, there = Link("a", 1, 1), Link("b", 1, 1)
    frames = 2 * WINDOW // 32_768
    for number in range(frames):
        here.put_flow((kinds.MESSAGES, number, 2, number, bytes(32_768)))
    first = here.due(0.0)
    assert WINDOW <= sum(map(len, first)) < WINDOW + 3 * 65_536
    assert here.due(0.0) == []
    arrived = deliver(there, first)
    deliver(here, there.due(0.0))  # so much is acknowledged at once
    arrived += deliver(there, here.due(0.0))
    assert arrived == list(range(frames))


def test_a_sender_that_breaks_its_windows_is_found_out() -> None:
    link = Link("a", 1, 1)
    with pytest.raises(ProtocolError, match="windows allow less"):
        for number in range(MOST // 1000 + 1):
            link.put_flow(frame(number, 1000))


def test_what_leaves_no_longer_counts() -> None:
    here, there = Link("a", 1, 1), Link("b", 1, 1)
    for number in range(4 * MOST // 32_768):
        here.put_flow(frame(number, 32_768))
        assert deliver(there, here.due(0.0)) == [number]
        deliver(here, there.due(0.0, acks=True))


@pytest.mark.parametrize("ack", [-1, 2])
def test_an_impossible_acknowledgement_is_refused(ack: int) -> None:
    link = Link("a", 1, 1)
    link.put_flow(frame(0))
    link.due(0.0)
    with pytest.raises(ProtocolError, match="acknowledged"):
        link.receive(Batch("b", 1, 1, 0, ack, False, []))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x91\xa3bye", b"\x91\x05", b"\x93\xa3bye\x01\x01"])
def test_what_is_no_letter_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(data)
