"""Slots under a `Primary` alone, and the setting ``env`` as a function of the slot."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import UserDict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from aiocluster import Primary, StartupError, WorkerProcess
from aiocluster._events.stream import EventStream
from aiocluster.events import Message
from aiocluster.settings import PrimarySettings, StartMethod
from tests.support.events import several
from tests.support.raising import OddError, UnprintableError

from .inside_slots import NAME, has_children, tell, tell_and_leave

both_ways = pytest.mark.parametrize("start_method", ["spawn", "template"])


def name_of(slot: int) -> dict[str, str]:
    return {NAME: f"of slot {slot}"}


async def told_by(heard: EventStream[Message], *workers: WorkerProcess) -> list[Any]:
    """What these workers tell, who have been forked last, in their order."""
    told = {event.sender: event.message for event in [await anext(heard) for _ in workers]}
    return [told[worker.pid] for worker in workers]


@both_ways
async def test_a_new_worker_has_the_lowest_number_that_is_free(start_method: StartMethod) -> None:
    async with Primary(tell, start_method=start_method) as primary, primary.events("message") as heard:
        workers = await asyncio.gather(*(primary.fork() for _ in range(3)))  # at once: none has it yet when all begin
        assert sorted(worker.slot for worker in workers if worker.slot is not None) == [0, 1, 2]
        for worker, facts in zip(workers, await told_by(heard, *workers), strict=True):
            assert (facts["slot"], facts["variable"]) == (worker.slot, str(worker.slot))
        by_slot = {worker.slot: worker for worker in workers}
        by_slot[1].kill(signal.SIGKILL)
        await by_slot[1].wait()
        assert [(await primary.fork()).slot for _ in range(2)] == [1, 3]


async def test_a_start_that_fails_frees_its_number() -> None:
    async with Primary(tell) as primary:
        primary.setup(executable="/bin/sh", exec_args=["-c", "exit 3"])
        failed = await primary.fork()
        await failed.wait_gone()
        primary.setup(stdin=None, executable=None, exec_args=())
        assert (await primary.fork()).slot == failed.slot == 0


async def test_a_workers_children_have_no_slot_and_those_of_its_cluster_have_their_own() -> None:
    async with Primary(tell) as primary, primary.events("message") as heard:
        await primary.fork()
        await anext(heard)
        primary.setup(target=has_children)
        worker = await primary.fork()
        assert worker.slot == 1
        assert (await anext(heard)).message == ["False", "slot:", ["0", "0"], ["None", None]]


# ---- env as a function


@both_ways
async def test_env_of_the_slot(start_method: StartMethod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "the primary's own")
    settings: PrimarySettings = {"start_method": start_method, "env": name_of}
    async with Primary(tell, **settings) as primary, primary.events("message") as heard:
        workers = [await primary.fork() for _ in range(2)]
        own = await primary.fork({NAME: "its own"})
        told = await told_by(heard, *workers, own)
        assert [facts["env"] for facts in told] == ["of slot 0", "of slot 1", "its own"]
        assert [facts["env of C"] for facts in told] == ["of slot 0", "of slot 1", "its own"]
        assert [worker.env for worker in (*workers, own)] == [{}, {}, {NAME: "its own"}]
        importers = {facts["imported_by"] for facts in told}
        assert len(importers) == (1 if start_method == "template" else 3), "one fork server is for all slots"
        primary.setup(env=lambda slot: {})
        (facts,) = await told_by(heard, await primary.fork())
        assert facts["env"] == facts["env of C"] == "the primary's own"
        if start_method == "template":
            assert {facts["imported_by"]} == importers, "another function needs no other fork server"
        monkeypatch.delenv(NAME)
        (facts,) = await told_by(heard, await primary.fork())
        assert facts["env"] is facts["env of C"] is None


@both_ways
async def test_a_time_zone_of_the_slot(start_method: StartMethod) -> None:
    zones = ["UTC0", "EST5", "JST-9"]
    settings: PrimarySettings = {"start_method": start_method, "env": lambda slot: {"TZ": zones[slot]}}
    async with Primary(tell, **settings) as primary, primary.events("message") as heard:
        told = await told_by(heard, *[await primary.fork() for _ in zones])
    assert [facts["zone"] for facts in told] == ["UTC", "EST", "JST"]


async def test_it_is_called_at_each_fork_with_the_slot() -> None:
    asked: list[int] = []

    def env(slot: int) -> Mapping[str, str]:
        asked.append(slot)
        return os.environ if slot else {}

    async with Primary(tell_and_leave, env=env) as primary:
        assert asked == []
        first = await primary.fork()
        await primary.fork()
        await first.wait()
        await primary.fork()
        assert asked == [0, 1, 0]


class OddMapping(UserDict[str, str]):
    def __iter__(self) -> Iterator[str]:
        raise OddError


def raises(error: BaseException) -> Any:
    def env(slot: int) -> dict[str, str]:
        if slot == 1:
            raise error
        return {}

    return env


def returns(value: object) -> Any:
    return lambda slot: value if slot == 1 else {}


BAD: Mapping[str, tuple[Any, type[Exception], str]] = {
    "raises": (raises(KeyError("gpu")), ValueError, "env for slot 1: the function raised KeyError: 'gpu'"),
    "exits": (raises(SystemExit(3)), ValueError, "env for slot 1: the function raised SystemExit: 3"),
    "cancels": (raises(asyncio.CancelledError()), ValueError, "env for slot 1: the function raised CancelledError"),
    "odd": (raises(OddError()), ValueError, "env for slot 1: the function raised OddError"),
    "unprintable": (raises(UnprintableError()), ValueError, "env for slot 1: the function raised UnprintableError: <"),
    "a mapping that raises": (returns(OddMapping()), ValueError, "env for slot 1: the function raised OddError"),
    "None": (returns(None), TypeError, "env for slot 1 must be a mapping of str to str, not None"),
    "pairs": (returns([("A", "1")]), TypeError, "env for slot 1 must be a mapping of str to str, not [('A', '1')]"),
    "numbers": (returns({"A": 1}), TypeError, "env for slot 1 must be a mapping of str to str, not {'A': 1}"),
    "bytes": (returns({b"A": b"1"}), TypeError, "env for slot 1 must be a mapping of str to str, not {b'A': b'1'}"),
    "a bad name": (returns({"A=B": "1"}), ValueError, "env for slot 1: 'A=B' can't be the name of an environment"),
    "a null": (returns({"A": "\0"}), ValueError, "env for slot 1['A'] must not contain a null character: '\\x00'"),
}


async def test_a_function_that_fails_is_a_failed_start() -> None:
    async with Primary(tell) as primary, several(primary, "fork", "error") as heard:
        first = await primary.fork()
        assert (await anext(heard)).worker is first
        for env, error, text in BAD.values():
            primary.setup(env=env)
            with pytest.raises(StartupError) as caught:
                await primary.fork()
            assert str(caught.value).startswith(text)
            assert isinstance(caught.value.__cause__, error)
            assert list(primary.workers.values()) == [first]
        primary.setup(env=None)
        assert (await primary.fork()).slot == 1
