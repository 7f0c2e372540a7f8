"""Messages among six workers that are killed at random and replaced: each one is handled or comes back."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Cluster, RestartPolicy, WorkerProcess
from tests.support.seeds import new_random

from . import storm

WORKERS = 6
Journal = dict[tuple[bytes, int], list[int]]


async def weather(directory: Path, messages: int, kills: int, choose: random.Random) -> dict[int, dict[str, Any]]:
    """Runs the storm until so many messages have been handled. Returns what those say who have survived it."""
    moments = sorted(choose.randrange(messages) for _ in range(kills))
    endless = RestartPolicy(limit=10 * kills + 10, period=1.0, backoff=(0.0, 0.0))
    async with Cluster(storm.storm, workers=WORKERS, args=[str(directory), str(WORKERS)], restart=endless) as cluster:

        def alive() -> list[WorkerProcess]:
            return [worker for worker in cluster.workers.values() if worker._session.life.is_ready]

        def handled() -> int:
            """Roughly: the journals have some other entries too."""
            return sum(path.stat().st_size for path in directory.iterdir()) // storm.ENTRY.size

        for moment in moments:
            while handled() < moment or len(alive()) < WORKERS - 1:
                await asyncio.sleep(0.001)
            victim = choose.choice(alive())
            victim.kill(signal.SIGKILL)
            await victim.wait()
        while handled() < messages or len(alive()) < WORKERS:
            await asyncio.sleep(0.001)
        while how_many_came(directory) < messages:
            await asyncio.sleep(0.05)

        for survivor in alive():
            await survivor.request("stop")
        while True:  # until all that is under way has arrived
            reports = {survivor.pid: await survivor.request("report") for survivor in alive()}
            if all(
                reports[receiver]["handled"].get(sender, 0) == report["sent"].get(receiver, 0)
                for sender, report in reports.items()
                for receiver in reports
            ):
                break
            await asyncio.sleep(0.01)
        assert {tuple(sorted([pid, *report["peers"]])) for pid, report in reports.items()} == {tuple(sorted(reports))}
        assert len(reports) == WORKERS
        return reports


def journals(directory: Path) -> dict[int, Journal]:
    """By pid: the numbers of what it handled of each sender, and of what came back from each receiver, as it came."""

    def entries(path: Path) -> Iterator[tuple[bytes, int, int]]:
        data = path.read_bytes()
        return storm.ENTRY.iter_unpack(data[: len(data) - len(data) % storm.ENTRY.size])

    found: dict[int, Journal] = {}
    for path in directory.iterdir():
        journal = found[int(path.name)] = defaultdict(list)
        for what, pid, number in entries(path):
            journal[what, pid].append(number)
    return found


def how_many_came(directory: Path) -> int:
    """How many messages have been handled or have come back."""
    return sum(
        len(numbers)
        for journal in journals(directory).values()
        for (what, _), numbers in journal.items()
        if what in (storm.HANDLED, storm.RETURNED)
    )


def account(journals: dict[int, Journal], reports: dict[int, dict[str, Any]]) -> Counter[str]:
    """Holds the journals against each other.

    Raises:
        AssertionError: A message was handled twice or out of order, or is missing.
    """
    figures: Counter[str] = Counter()
    for sender, own in journals.items():
        for receiver, theirs in journals.items():
            handled, returned = theirs[storm.HANDLED, sender], own[storm.RETURNED, receiver]
            figures["handled"] += len(handled)
            figures["returned"] += len(returned)
            # In order, none twice, and none left out between two.
            assert handled == list(range(len(handled)))
            if returned:
                assert receiver not in reports
                assert returned == list(range(returned[0], returned[0] + len(returned)))
            if sender in reports:
                sent = reports[sender]["sent"].get(receiver, 0)
                accounted = set(handled) | set(returned)
                assert accounted <= set(range(sent))
                figures["sent by survivors"] += sent
                figures["unaccounted"] += sent - len(accounted)
                figures["handled, but not confirmed in time"] += len(handled) + len(returned) - len(accounted)
            else:
                sent = max([*own[storm.SENT, receiver], 0])
                figures["gone with their sender"] += max(sent - len(set(handled) | set(returned)), 0)
    return figures


async def run(directory: Path, messages: int, kills: int, choose: random.Random) -> None:
    began = time.monotonic()
    reports = await weather(directory, messages, kills, choose)
    seconds = time.monotonic() - began
    found = journals(directory)
    # A receiver that was killed before it could open a journal has handled nothing.
    for report in reports.values():
        for pid in report["sent"]:
            found.setdefault(pid, defaultdict(list))
    figures = account(found, reports)
    print(f"{kills} of {len(found)} workers killed in {seconds:.1f} s: {dict(figures)}")
    assert figures["unaccounted"] == 0
    assert figures["handled"] + figures["returned"] >= messages


async def test_each_message_is_handled_or_comes_back(tmp_path: Path) -> None:
    await run(tmp_path, messages=20_000, kills=8, choose=random.Random(8))


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_each_of_a_million_messages_is_handled_or_comes_back(tmp_path: Path) -> None:
    await run(tmp_path, messages=1_000_000, kills=100, choose=new_random())
