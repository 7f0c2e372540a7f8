"""What docs/how-to/fleet.md promises, while Redis, the network or a whole cluster fails."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiocluster import Cluster
from tests.fleet.runs import Heard, cluster, first, lines, until, writers
from tests.support.machines import Machine, machines
from tests.support.redis import RedisServer, started

pytestmark = [pytest.mark.asyncio, pytest.mark.fleet, pytest.mark.timeout(120)]

GAP = 0.005  # seconds between two messages


class Other:
    """A cluster in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to its primary and to all its workers."""
        primary = psutil.Process(self.process.pid)
        for one in [primary, *primary.children(recursive=True)]:
            one.send_signal(number)


@asynccontextmanager
async def other(url: str, lease: float, journal: Path, command: Iterable[str] = ()) -> AsyncIterator[Other]:
    process = await asyncio.create_subprocess_exec(
        *command, sys.executable, "-m", "tests.fleet.machine", url, str(lease), str(journal)
    )
    try:
        yield Other(process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def other_worker(here: Cluster) -> str:
    """The address of the other cluster's worker, once it is known."""
    await until(lambda: any(pids for host, pids in here.fleet.members.items() if host != here.fleet.host))
    return next(f"{host}/{pids[0]}" for host, pids in here.fleet.members.items() if host != here.fleet.host and pids)


class Stream:
    """Numbers from a worker of this cluster to one of the other, and what has become of each."""

    def __init__(self, here: Cluster, heard: Heard, to: str, count: int) -> None:
        self.count = count
        self._here, self._heard, self._to = here, heard, to
        self._task = asyncio.ensure_future(first(here).request(["stream", to, count, GAP]))

    @property
    def undelivered(self) -> list[int]:
        return [message[2] for message in self._heard if message[:2] == ["undelivered", self._to]]

    async def end(self) -> list[int]:
        """Returns what has arrived, once each number has arrived or come back."""
        refused = set(await self._task)
        while True:
            to = await other_worker(self._here)
            try:
                arrived = await first(self._here).request(["ask", to, ["received"]], timeout=5)
            except Exception:  # out of touch again
                await asyncio.sleep(0.05)
                continue
            if refused.union(self.undelivered, arrived) == set(range(self.count)):
                assert arrived == sorted(set(arrived)), "out of order, or twice"
                assert not refused.intersection(arrived)
                return list(arrived)
            await asyncio.sleep(0.05)


async def restarted(redis: RedisServer) -> None:
    redis.restart()


async def killed_and_empty(redis: RedisServer) -> None:
    redis.kill()
    redis.empty()
    await asyncio.sleep(0.2)
    redis.start()


async def connections_cut(redis: RedisServer) -> None:
    for _ in range(5):
        redis.cut("normal")
        redis.cut("pubsub")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("fault", [restarted, killed_and_empty, connections_cut])
async def test_what_is_over_within_the_lease_loses_nothing(own_redis: RedisServer, tmp_path: Path, fault: Any) -> None:
    journal, lease = tmp_path / "journal", 6.0
    async with (
        cluster(own_redis.url, fleet_lease=lease, journal=journal) as here,
        other(own_redis.url, lease, journal),
    ):
        heard = Heard(here)
        stream = Stream(here, heard, await other_worker(here), 300)
        await asyncio.sleep(50 * GAP)
        await fault(own_redis)
        assert await first(here).request(["echo", "near"])
        assert await stream.end() == list(range(300))
        assert stream.undelivered == []
        await until(lambda: lines(journal))
    assert writers(journal)


async def test_a_frozen_cluster_that_wakes_after_its_lease(own_redis: RedisServer, tmp_path: Path) -> None:
    journal, lease = tmp_path / "journal", 1.5
    async with other(own_redis.url, lease, journal) as there:
        await until(lambda: lines(journal))
        async with cluster(own_redis.url, fleet_lease=lease, journal=journal) as here:
            heard = Heard(here)
            stream = Stream(here, heard, await other_worker(here), 1500)
            await asyncio.sleep(50 * GAP)
            there.signal(signal.SIGSTOP)
            await until(lambda: len(here.fleet.members) == 1)
            await until(lambda: len(writers(journal)) == 2)  # its agent runs here now
            there.signal(signal.SIGCONT)
            arrived = await stream.end()
            assert arrived
            assert stream.undelivered
            await until(lambda: lines(journal)[-1].pid == here.agents["job"].pid)
    assert len(writers(journal)) == 2


async def test_a_cluster_that_is_killed_is_gone_after_its_lease(own_redis: RedisServer, tmp_path: Path) -> None:
    journal, lease = tmp_path / "journal", 1.5
    async with (
        other(own_redis.url, lease, journal) as there,
        cluster(own_redis.url, fleet_lease=lease, journal=journal) as here,
    ):
        heard = Heard(here)
        to = await other_worker(here)
        os.kill(there.process.pid, signal.SIGKILL)
        await first(here).request(["send", to, "too late"])
        await heard.has(["undelivered", to, "too late"])
        assert list(here.fleet.members) == [here.fleet.host]
        await until(lambda: here.agents)
        await until(lambda: lines(journal)[-1:] and lines(journal)[-1].pid == here.agents["job"].pid)
    writers(journal)


@pytest.mark.parametrize(("lease", "seconds"), [(6.0, 1.0), (1.5, 4.0)], ids=["shortly", "for longer than the lease"])
async def test_a_cable_that_is_pulled(tmp_path: Path, lease: float, seconds: float) -> None:
    journal = tmp_path / "journal"
    with machines(1) as made, _redis_on(made) as redis:
        url = f"redis://{made[0].outside}:{redis.port}"
        async with other(url, lease, journal, made[0].command):
            await until(lambda: lines(journal))
            async with cluster(redis.url, fleet_lease=lease, journal=journal) as here:
                heard = Heard(here)
                to = await other_worker(here)
                stream = Stream(here, heard, to, 300 if seconds < lease else 1500)
                await asyncio.sleep(50 * GAP)
                made[0].pull()
                await asyncio.sleep(seconds)
                made[0].plug_in()
                arrived = await stream.end()
                if seconds < lease:
                    assert arrived == list(range(300))
                    assert stream.undelivered == []
                else:
                    assert stream.undelivered
                    assert len(writers(journal)) == 2
    writers(journal)


@contextmanager
def _redis_on(made: list[Machine]) -> Iterator[RedisServer]:
    """A Redis that these machines reach."""
    with started("--bind", "127.0.0.1", *(one.outside for one in made), "--protected-mode", "no") as redis:
        yield redis
