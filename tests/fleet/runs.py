"""What the tests of fleets share: clusters, and what a job that must not run twice has written."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from aiocluster import Agent, Cluster, WorkerProcess
from tests.fleet.inside_fleet import answer, write

LEASE = 6.0  # seconds; long enough for a machine with other work


class Heard(list[Any]):
    """The messages that a cluster's workers have told it of."""

    def __init__(self, cluster: Cluster) -> None:
        self._changed = asyncio.Event()
        cluster.on("message", lambda event: self._add(event.message))

    def _add(self, message: Any) -> None:
        self.append(message)
        self._changed.set()

    async def has(self, *wanted: Any) -> None:
        """Returns when all these have been heard."""
        while any(message not in self for message in wanted):
            self._changed.clear()
            await self._changed.wait()


def cluster(url: str, *, workers: int = 1, journal: Path | None = None, **settings: Any) -> Cluster:
    agents = {} if journal is None else {"job": Agent(write, args=[str(journal)], once="fleet")}
    settings = {"fleet": "shop", "fleet_lease": LEASE, **settings}
    return Cluster(answer, workers=workers, backplane=url, agents=agents, **settings)


async def until(condition: Callable[[], Any]) -> None:
    """Returns when this is true; the test's own timeout bounds it."""
    while not condition():
        await asyncio.sleep(0.01)


async def all_know_all(*clusters: Cluster) -> None:
    """Returns when each cluster, and each worker of each, knows all workers of all."""
    wanted = {one.fleet.host: sorted(worker.pid for worker in one.workers.values()) for one in clusters}
    for one in clusters:
        while {host: sorted(pids) for host, pids in one.fleet.members.items()} != wanted:
            await asyncio.sleep(0.01)
        for worker in one.workers.values():
            while {host: sorted(pids) for host, pids in (await worker.request(["members"])).items()} != wanted:
                await asyncio.sleep(0.01)


def first(cluster: Cluster) -> WorkerProcess:
    return next(iter(cluster.workers.values()))


def address(cluster: Cluster) -> str:
    return f"{cluster.fleet.host}/{first(cluster).pid}"


class Line(NamedTuple):
    """One line of a job's journal."""

    token: int
    pid: int
    time: float


def lines(journal: Path) -> list[Line]:
    """The whole lines that jobs have written: of one that is killed, the last may be a part."""
    found = []
    for line in journal.read_text().splitlines() if journal.exists() else []:
        match line.split():
            case [token, pid, at] if "." in at:
                found.append(Line(int(token), int(pid), float(at)))
    return found


def writers(journal: Path) -> list[int]:
    """The pids of the jobs in the order in which they have written. Fails if two have written at the same time."""
    found = lines(journal)
    runs = [(pid, list(of)) for pid, of in itertools.groupby(found, key=lambda line: line.pid)]
    assert len({pid for pid, _ in runs}) == len(runs), f"two have written at the same time: {[pid for pid, _ in runs]}"
    tokens = [of[0].token for _, of in runs]
    assert tokens == sorted(tokens), tokens
    return [pid for pid, _ in runs]
