"""The state of clusters: their workers, agents and primary share it, by a process that nobody else sees."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiocluster import (
    BackplaneError,
    ChannelClosedError,
    Cluster,
    ClusterError,
    Primary,
    StartupError,
    WorkerProcess,
)
from tests.conftest import BOTH
from tests.primary import nobody
from tests.support.programs import ROOT
from tests.support.state import Model

from . import inside
from .test_contract import call, of_model

NO_FRAMES = [
    b"\xff" * 100,
    struct.pack(">I", 2**31),
    struct.pack(">I", 3) + b"\x93\x01\x02",
    b"\x00\x00\x00\x02\x91\x63",
]


def _hidden(cluster: Cluster) -> int:
    """The pid of the process that keeps the state."""
    process = cluster.primary._shared.state
    assert process is not None
    assert process.pid is not None
    return process.pid


def _all(cluster: Cluster) -> list[WorkerProcess]:
    return [*cluster.workers.values(), *cluster.agents.values()]


async def test_four_workers_and_an_agent(state_url: str) -> None:
    loop: Any = "asyncio" if state_url.startswith("sqlite") else "uvloop"
    is_redis = state_url.startswith("unix")
    method: Any = "template" if state_url.startswith("sqlite") else "spawn"
    cluster = Cluster(
        inside.stay,
        workers=4,
        agents={"fifth": inside.stay},
        state=state_url,
        loop=loop,
        start_method=method,
    )
    seen: list[Any] = []
    for name in ("fork", "online", "exit", "disconnect", "message"):
        cluster.on(name, seen.append)
    async with cluster:
        workers = _all(cluster)
        model = Model()
        chance = random.Random(0)
        keys, values = ["a", "a:1", "b"], [None, True, 1, 2, "1", [1]]
        for _ in range(150):
            key, value = chance.choice(keys), chance.choice(values)
            one: tuple[Any, ...] = chance.choice(
                [
                    ("get", key),
                    ("set", key, value, chance.random() < 0.5),
                    ("delete", key),
                    ("incr", key, 5),
                    ("replace", key, chance.choice(values), value),
                    ("get_many", keys),
                    ("keys", "a"),
                ]
            )
            wanted = of_model(model, *one)
            if (who := chance.randrange(6)) < 5:
                got = await workers[who]._session.run(inside.call, one)
                assert got == (wanted.__name__ if isinstance(wanted, type) else wanted), one
            else:
                assert await call(cluster.state, *one) == wanted, one

        runs = [worker._session.run for worker in workers]
        await asyncio.gather(*(run(inside.count, [10, 20]) for run in runs))
        assert await cluster.state.get("n") == 1000

        await cluster.state.set("list", [])
        await asyncio.gather(*(run(inside.append, [[f"{who}:{n}" for n in range(8)]]) for who, run in enumerate(runs)))
        items = await cluster.state.get("list")
        assert sorted(items) == sorted(f"{who}:{n}" for who in range(5) for n in range(8))
        for who in range(5):  # each one's in the order in which it appended them
            assert [item for item in items if item.startswith(f"{who}:")] == [f"{who}:{n}" for n in range(8)]

        tokens = await asyncio.gather(*(run(inside.hold_in_turns, [4]) for run in runs))
        assert all(own == sorted(own) for own in tokens)
        assert len({token for own in tokens for token in own}) == 20

        async with cluster.state.watch("watchers") as changes:
            watching = [asyncio.ensure_future(run(inside.hears, ["w:", "w:end"])) for run in runs]
            async for change in changes:
                if change.value == 5:
                    break
        changed = [["w:1", 1], ["w:2", [2]], ["w:1", None], ["w:end", 0]]
        await cluster.state.set("w:1", 1)
        await cluster.state.set("w:2", [2])
        await cluster.state.delete("w:1")
        await cluster.state.set("w:end", 0)
        assert await asyncio.gather(*watching) == [changed] * 5

        hidden = None if is_redis else _hidden(cluster)
        await cluster.reload()
        assert is_redis or _hidden(cluster) == hidden
        assert await _all(cluster)[0]._session.run(inside.call, ["get", "n"]) == 1000
        await cluster.broadcast("all")
        assert hidden not in {worker.pid for worker in cluster.primary.workers.values()}
        assert hidden not in {stats.pid for stats in cluster.stats().workers}
        assert {event.worker.pid for event in seen}.isdisjoint({hidden})
    assert hidden is None or not psutil.pid_exists(hidden)
    with pytest.raises(ClusterError, match="the state is closed"):
        await cluster.state.get("n")


@pytest.mark.asyncio(loop_factories=sorted(BOTH))
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_it_crashes(kind: str, tmp_path: Path) -> None:
    url, ttl = ("memory:", 0.5) if kind == "memory" else (f"sqlite:///{tmp_path}/state.db", 30)
    async with Cluster(inside.stay, workers=1, state=url) as cluster, cluster.events("error") as errors:
        state = cluster.state
        (worker,) = cluster.workers.values()
        assert await worker._session.run(inside.call, ["incr", "n"]) == 1
        async with state.mirror() as mirror, state.watch() as changes, state.lock("l", ttl=ttl) as lease:
            assert await state.incr("n") == 2
            assert (await anext(changes)).value == 2
            os.kill(_hidden(cluster), signal.SIGSTOP)
            reads = [asyncio.ensure_future(state.get("n")) for _ in range(3)]
            writes = [asyncio.ensure_future(state.incr("n")) for _ in range(3)]
            await asyncio.sleep(0.01)
            os.kill(_hidden(cluster), signal.SIGKILL)
            for write in writes:
                with pytest.raises(ChannelClosedError, match=r"gone; what was under way may or may not"):
                    await write
            kept = 2 if kind == "sqlite" else None
            assert await asyncio.gather(*reads) == [kept] * 3
            with pytest.raises(ChannelClosedError, match=r"changes may have been missed$"):
                await anext(changes)
            error = await anext(errors)
            assert error.worker is None
            lost = "nothing that was answered is lost" if kind == "sqlite" else "what was in memory is lost"
            assert str(error.error).endswith(f"has ended, by signal SIGKILL: {lost}")
            assert await worker._session.run(inside.call, ["get", "n"]) == kept
            assert await state.set("new", 1)
            while dict(mirror) != ({"new": 1} if kept is None else {"n": 2, "new": 1}):
                await asyncio.sleep(0.001)
            if kind == "memory":
                await lease.lost.wait()
            else:
                assert not lease.lost.is_set()
                with pytest.raises(TimeoutError):
                    async with state.lock("l", timeout=0):
                        pass
        async with state.lock("l") as next_lease:
            assert next_lease.token > lease.token


async def test_a_worker_is_killed(state_url: str) -> None:
    async with Cluster(inside.stay, workers=2, state=state_url) as cluster, cluster.events("message") as messages:
        victim, other = cluster.workers.values()
        counting = asyncio.ensure_future(victim._session.run(inside.count_until_killed, []))
        told = 0
        async for _ in messages:
            told += 1
            if told == 30:
                break
        victim.kill(signal.SIGKILL)
        await victim.wait()
        with pytest.raises(ChannelClosedError):
            await counting
        assert await other._session.run(inside.call, ["get", "n"]) >= 29
        assert await cluster.state.incr("m") == 1


async def test_what_a_worker_may_do_with_it(worker_loop: Any) -> None:
    async with Cluster(inside.stay, workers=2, loop=worker_loop) as cluster:
        one, other = cluster.workers.values()
        assert await one._session.run(inside.has_in_forked_child, []) == [False, True]
        assert await one._session.run(inside.in_another_thread, []) == 1
        assert await one._session.run(inside.in_another_thread, []) == 2
        assert await other._session.run(inside.call, ["incr", "n"]) == 1
        hidden = psutil.Process(_hidden(cluster))
        before = hidden.num_fds()
        for data in NO_FRAMES:
            told = await one._session.run(inside.write_to_its_channel, [data])
            assert told == "answered" or "may or may not have been done" in told
            assert await one._session.run(inside.call, ["incr", "n"]) > 1
        assert hidden.is_running()
        assert hidden.num_fds() <= before  # that of the other thread's loop has been closed
        assert await other._session.run(inside.call, ["incr", "n"]) == 2 + len(NO_FRAMES)


async def test_a_worker_with_one_loop_after_the_other(worker_loop: Any) -> None:
    cluster = Cluster(inside.run_three_loops, workers=1, loop=worker_loop)
    async with cluster.events("message") as messages, cluster:
        assert (await anext(messages)).message == 1
        assert await cluster.state.get("loops") == 4


async def test_where_there_is_none() -> None:
    primary = Primary(inside.ask_for_state)
    async with primary.events("message") as messages, primary:
        await primary.fork()
        text = (await anext(messages)).message
    assert text == "ClusterError: there is no state: a Primary has none, only a Cluster"
    cluster = Cluster(inside.stay, workers=1)
    with pytest.raises(ClusterError, match="only inside `async with Cluster"):
        await cluster.state.get("a")
    async with cluster:  # which never uses it
        process = cluster.primary._shared.state
        assert process is not None
        assert process.pid is None


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("shop://x", "'shop://x' is no URL of a state: there is no scheme 'shop'"),
        ("sqlite:///no/such/folder/x.db", "sqlite:///no/such/folder/x.db: unable to open database file"),
        ("sqlite://x.db", "'sqlite://x.db' is no URL such as"),
        ("sqlite:///x.db?mode=ro", "'sqlite:///x.db[?]mode=ro' is no URL such as"),
        ("memory:x", "'memory:x' has something after"),
    ],
)
async def test_one_that_can_not_be_had(url: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOCLUSTER_STATE", url)
    cluster = Cluster(inside.stay, workers=1)
    with pytest.raises(StartupError, match=f"^the state can't be had: {text}") as caught:
        async with cluster:
            pass
    assert isinstance(caught.value, BackplaneError)
    assert "\n" not in str(caught.value)


def test_it_is_not_shown_with_the_settings() -> None:
    cluster = Cluster(inside.stay, state="redis://user:secret@localhost")
    assert cluster.primary.settings.state == "redis://user:secret@localhost"
    assert "secret" not in repr(cluster.primary.settings)
    with pytest.raises(TypeError, match=r"setup\(\) can't change state, which counts when the cluster starts"):
        cluster.setup(state="memory:")  # type: ignore[call-arg]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
async def test_it_runs_as_the_workers_user() -> None:
    with tempfile.TemporaryDirectory() as folder:  # a test's own is below folders that are the user's alone
        os.chmod(folder, 0o777)
        ids: Any = {"uid": 65534, "gid": 65533, "loop": "asyncio"}
        url = f"sqlite:///{folder}/x.db"
        async with Cluster(nobody.tell_ids, workers=1, restart=False, state=url, **ids) as cluster:
            assert await cluster.state.incr("n") == 1
            process = psutil.Process(_hidden(cluster))
            assert (process.uids().real, process.gids().real) == (65534, 65533)
            file = os.stat(f"{folder}/x.db")
            assert (file.st_uid, file.st_gid) == (65534, 65533)


async def test_what_workers_do_at_the_very_end_counts(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    async with Cluster(inside.count_at_the_end, workers=2, state=url) as cluster:
        for worker in cluster.workers.values():
            await worker.request("begin")
    async with Cluster(inside.stay, workers=1, state=url) as cluster:
        assert await cluster.state.get("ends") == 2


async def test_it_ends_with_a_primary_that_is_killed() -> None:
    program = [sys.executable, "-c", "from tests.state import inside; inside.run_a_cluster()"]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            hidden = psutil.Process(int(await asyncio.to_thread(process.stdout.readline)))
        finally:
            process.kill()
    await asyncio.to_thread(hidden.wait, 10)
