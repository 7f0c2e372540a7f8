"""A worker's life: every move from every state."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster._primary.life import MOVES, STATES, Life
from aiocluster.errors import ProtocolError

REGIONS = {
    "process": ("running", "exited"),
    "channel": ("open", "closed"),
    "duty": ("starting", "online", "listening", "failed", "leaving"),
    "loop": ("none", "running"),
}

# What follows in the move's own region; None: illegal. Written out, so that a change of the table shows here.
EXPECTED = {
    ("exit", "running"): "exited",
    ("exit", "exited"): None,
    ("close", "open"): "closed",
    ("close", "closed"): None,
    ("online", "starting"): "online",
    ("online", "online"): None,
    ("online", "listening"): None,
    ("online", "failed"): None,
    ("online", "leaving"): "leaving",
    ("listen", "starting"): "starting",
    ("listen", "online"): "listening",
    ("listen", "listening"): "listening",
    ("listen", "failed"): None,
    ("listen", "leaving"): None,
    ("fail", "starting"): "failed",
    ("fail", "online"): "failed",
    ("fail", "listening"): "failed",
    ("fail", "failed"): None,
    ("fail", "leaving"): "leaving",
    ("leave", "starting"): "leaving",
    ("leave", "online"): "leaving",
    ("leave", "listening"): "leaving",
    ("leave", "failed"): "leaving",
    ("leave", "leaving"): "leaving",
    ("attach", "none"): "running",
    ("attach", "running"): None,
    ("detach", "running"): "none",
    ("detach", "none"): None,
}

EVERYWHERE = [dict(zip(REGIONS, states, strict=True)) for states in product(*REGIONS.values())]


# The shortest ways to each state of a region.
WAYS = {
    "running": [],
    "exited": ["exit"],
    "open": [],
    "closed": ["close"],
    "starting": [],
    "online": ["online"],
    "listening": ["online", "listen"],
    "failed": ["online", "fail"],
    "leaving": ["leave"],
    "none": [],
    "attached": ["attach"],
}


def life(**regions: str) -> Life:
    one = Life()
    for region, state in regions.items():
        for move in WAYS["attached" if (region, state) == ("loop", "running") else state]:
            one.move(move)  # type: ignore[arg-type]
    return one


def regions(one: Life) -> dict[str, str]:
    return {region: getattr(one, region) for region in REGIONS}


def test_a_worker_starts_in_the_first_state_of_each_region() -> None:
    assert regions(Life()) == {region: states[0] for region, states in REGIONS.items()}


@pytest.mark.parametrize("move", MOVES)
def test_each_move_from_each_state(move: str) -> None:
    region = MOVES[move][0]  # type: ignore[index]
    for before in EVERYWHERE:
        one = life(**before)
        after = EXPECTED[move, before[region]]
        if after is None:
            with pytest.raises(ProtocolError, match=f"^'{move}' from a worker that is {before[region]}$"):
                one.move(move)  # type: ignore[arg-type]
            assert regions(one) == before
        else:
            assert one.move(move) == (after != before[region])  # type: ignore[arg-type]
            assert regions(one) == {**before, region: after}


def test_the_table_above_is_complete() -> None:
    assert EXPECTED.keys() == {(move, state) for move, (region, _) in MOVES.items() for state in REGIONS[region]}


@pytest.mark.parametrize("before", EVERYWHERE, ids=lambda before: "-".join(before.values()))
def test_what_follows_from_the_regions(before: dict[str, str]) -> None:
    one = life(**before)
    is_open, runs, duty = before["channel"] == "open", before["process"] == "running", before["duty"]
    serves = is_open and duty in ("starting", "online", "listening")
    if not runs:
        assert one.state == "dead"
    elif not is_open:
        assert one.state == "disconnected"
    elif duty == "leaving":
        assert one.state == "disconnecting"
    else:
        assert one.state == duty
    assert one.is_leaving == (duty == "leaving")
    assert one.is_gone == (not is_open and not runs)
    assert one.is_over == (not is_open or not runs or duty == "failed")
    assert one.takes_connections == serves
    assert one.is_missed == (one.is_over and duty != "leaving")
    assert one.is_ready == (serves and before["loop"] == "running")


@given(st.lists(st.sampled_from(list(MOVES))))
def test_the_state_never_goes_back(moves: list[str]) -> None:
    """But for one that has failed and is told to leave, it goes through the states in their order."""
    one = Life()
    order = [STATES.index(one.state)]
    for move in moves:
        try:
            one.move(move)  # type: ignore[arg-type]
        except ProtocolError:
            continue
        order.append(STATES.index(one.state))
    assert order == sorted(order)
