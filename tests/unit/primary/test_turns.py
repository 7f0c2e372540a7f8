"""Whose turn it is to bind a path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aiocluster._primary.ports import turns
from aiocluster._primary.ports.turns import Turn, Turns


def named(name: str, begun: list[str], path: bytes = b"/path") -> Turn:
    return Turn(path, _add(begun, name))


def _add(begun: list[str], name: str) -> Callable[[], None]:
    return lambda: begun.append(name)


async def test_turns_of_one_path_come_one_after_the_other() -> None:
    begun: list[str] = []
    table = Turns()
    first, second, third = (named(name, begun) for name in "abc")
    for turn in (first, second, third):
        table.add(turn)
    assert begun == ["a"]
    assert [turn.state for turn in (first, second, third)] == ["now", "waiting", "waiting"]
    table.end(second)  # it is not wanted any more
    table.end(first)
    assert begun == ["a", "c"]
    table.end(first)
    table.end(third)
    assert not table._queues
    assert not table._timers


async def test_other_paths_do_not_wait() -> None:
    begun: list[str] = []
    table = Turns()
    one, other = named("one", begun, b"/one"), named("other", begun, b"/other")
    table.add(one)
    table.add(other)
    assert begun == ["one", "other"]
    table.end(one)
    table.end(other)


async def test_a_turn_that_takes_too_long_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_TURN", 0.01)
    begun: list[str] = []
    table = Turns()
    stopped, next_one = named("stopped", begun), named("next", begun)
    table.add(stopped)
    table.add(next_one)
    while next_one.state != "now":
        await asyncio.sleep(0.001)
    assert stopped.state == "over"
    table.end(next_one)
    table.add(stopped)  # once more
    assert begun == ["stopped", "next", "stopped"]
    table.end(stopped)


async def test_a_turn_may_be_over_as_soon_as_it_begins() -> None:
    begun: list[str] = []
    table = Turns()
    first = named("first", begun)
    table.add(first)
    second = Turn(b"/path", lambda: table.end(second))
    third = named("third", begun)
    table.add(second)
    table.add(third)
    table.end(first)
    assert (second.state, third.state) == ("over", "now")
    table.end(third)
