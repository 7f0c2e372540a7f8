"""``setup()`` of a cluster: each of its settings, while it runs."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Cluster, Primary, RestartPolicy, Settings, StartupError, WorkerProcess
from aiocluster.events import Exit
from tests.support.http import fetch
from tests.support.serving import ask, serving

from .inside_cluster import serve
from .inside_health import block_when_told

Try = Callable[[Cluster, Path], Awaitable[None]]


def by_slot(cluster: Cluster) -> dict[int | None, WorkerProcess]:
    return {worker.slot: worker for worker in cluster.workers.values()}


def limit(name: str, value: Any) -> Try:
    """Sets a limit that every worker has reached, until one has been replaced."""

    reached: Any = {name: value}
    none: Any = {name: None}

    async def of_a_limit(cluster: Cluster, folder: Path) -> None:
        await ask(cluster.stats().ports[0].address)
        async with cluster.events("exit") as ends:
            cluster.setup(**reached)
            assert (await anext(ends)).reason == "limit"
        cluster.setup(**none)

    return of_a_limit


async def hang_timeout(cluster: Cluster, folder: Path) -> None:
    blocked = by_slot(cluster)[0]
    await blocked.send("block")
    cluster.setup(hang_timeout=1.0)
    assert (await blocked.wait()).reason == "hung"
    cluster.setup(hang_timeout=None)


async def restart(cluster: Cluster, folder: Path) -> None:
    cluster.setup(restart=False)
    by_slot(cluster)[0].kill(signal.SIGKILL)
    assert (await cluster.wait_for("exit")).reason == "killed"
    await cluster.scale(2)
    assert set(by_slot(cluster)) == {1}, "not replaced"
    cluster.setup(restart=RestartPolicy(limit=0))
    await cluster.reload()
    cluster.setup(restart=RestartPolicy())
    by_slot(cluster)[1].kill(signal.SIGKILL)
    assert (await cluster.wait_for("online")).worker.slot == 1


async def start_timeout(cluster: Cluster, folder: Path) -> None:
    (folder / "slow_of_test.py").write_text("import time\ntime.sleep(60)\ndef name(): ...\n")
    cluster.setup(start_timeout=0.5, target="slow_of_test:name", cwd=folder)
    with pytest.raises(StartupError, match=r"after 0\.5 seconds \(start_timeout\)"):
        await cluster.scale(3)
    cluster.setup(start_timeout=30.0, target=block_when_told, cwd=None)


async def weights(cluster: Cluster, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^weights must be 2 numbers, one per worker, not \(1, 2, 3\)$"):
        cluster.setup(weights=(1, 2, 3))
    cluster.setup(weights=(1, 3))
    await cluster.reload()
    assert {slot: worker.weight for slot, worker in by_slot(cluster).items()} == {0: 1, 1: 3}
    cluster.setup(weights=None)


async def drain_delay(cluster: Cluster, folder: Path) -> None:
    """The last one: the cluster stops."""
    cluster.setup(drain_delay=3600.0)
    stop = asyncio.create_task(cluster.stop())
    await asyncio.sleep(0)
    assert await ask(cluster.stats().ports[0].address) in {worker.pid for worker in cluster.workers.values()}
    assert cluster._reconciler.skip_drain_delay()
    await stop


async def health(cluster: Cluster, folder: Path) -> None:
    cluster.setup(health=f"unix:{folder / 'health.sock'}")
    await until(lambda: cluster.health_address is not None)
    first = cluster.health_address
    assert (await fetch(first, "/ready"))[0] == 200
    cluster.setup(health="127.0.0.1:0")
    await until(lambda: cluster.health_address != first)
    second = cluster.health_address
    assert (await fetch(second, "/ready"))[0] == 200
    assert not (folder / "health.sock").exists()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cluster.setup(health=f"127.0.0.1:{taken.getsockname()[1]}")
        await until(lambda: not cluster._status.place._moves)
    assert (await fetch(second, "/ready"))[0] == 200, "the old one stays"
    cluster.setup(health=None)
    await until(lambda: cluster.health_address is None)
    with pytest.raises(OSError):
        await fetch(second, "/live")


def watched(change: Callable[[Cluster, Path], str]) -> Try:
    """Changes what is watched, and then the file of that name in the folder, until the workers are replaced."""

    async def of_files(cluster: Cluster, folder: Path) -> None:
        file = folder / change(cluster, folder)
        before = set(cluster.workers)
        edits = 0
        while not cluster._reconciler.is_reloading:  # the first edits may come before it watches
            edits += 1
            file.write_text(f"edited = {edits}\n")
            try:
                async with asyncio.timeout(0.5):
                    await until(lambda: cluster._reconciler.is_reloading)
            except TimeoutError:
                pass
        await until(lambda: not cluster._reconciler.is_reloading)
        assert not before & set(cluster.workers)

    return of_files


def watch_python(cluster: Cluster, folder: Path) -> str:
    cluster.setup(reload_on_change=[folder])
    return "code_of_test.py"


async def metrics(cluster: Cluster, folder: Path) -> None:
    cluster.setup(metrics=f"unix:{folder / 'metrics.sock'}")
    await until(lambda: cluster.metrics_address is not None)
    assert 'aiocluster_workers{state="listening"}' in (await fetch(cluster.metrics_address, "/metrics"))[1]
    cluster.setup(metrics=None)
    await until(lambda: cluster.metrics_address is None)


def watch_pages(cluster: Cluster, folder: Path) -> str:
    cluster.setup(reload_include=["*.html"])
    return "page.html"


def watch_no_code(cluster: Cluster, folder: Path) -> str:
    cluster.setup(reload_exclude=["code_of_*"])
    return "other.html"


async def reload_exclude(cluster: Cluster, folder: Path) -> None:
    await watched(watch_no_code)(cluster, folder)
    assert not cluster._watch._files.counts(str(folder / "code_of_test.py"))


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


EACH: dict[str, Try] = {
    "health": health,
    "metrics": metrics,
    "weights": weights,
    "max_memory": limit("max_memory", 1),
    "max_lifetime": limit("max_lifetime", 0.01),
    "max_connections": limit("max_connections", 1),
    "restart": restart,
    "start_timeout": start_timeout,
    "hang_timeout": hang_timeout,
    "reload_on_change": watched(watch_python),
    "reload_include": watched(watch_pages),
    "reload_exclude": reload_exclude,
    "drain_delay": drain_delay,
}


async def test_each_setting_of_a_cluster_counts_from_then_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert set(EACH) == {one.name for one in fields(Settings) if one.metadata["reader"] == "cluster"}
    cluster = Cluster(block_when_told, workers=2, heartbeat=0.1, start_method="template")
    async with serving(cluster, 2):
        for name, tried in EACH.items():
            caplog.clear()
            with caplog.at_level(logging.INFO):
                await tried(cluster, tmp_path)
            text = "is in use; stop what listens there, or choose another address; it is answered at 127.0.0.1:"
            assert (text in caplog.text) is (name == "health")
            if name != "drain_delay":
                await cluster.scale(2)  # all is well again


async def test_what_is_wrong_is_refused_and_changes_nothing() -> None:
    cluster = Cluster(serve, workers=1)
    cluster.primary.setup(health="127.0.0.1:0", restart=False)  # before it runs
    before = cluster.primary.settings
    wrong: Any
    for wrong, error in (
        ({"workers": 2}, r"setup\(\) can't change workers, which counts when the cluster starts; scale\(\) changes"),
        ({"drain_delay": -1.0}, "drain_delay must be"),
        ({"drain_dealy": 1.0}, "Cluster has no setting 'drain_dealy'; did you mean 'drain_delay'"),
        ({"drain_delay": 1.0, "weights": (1, 2)}, "weights must be 1 numbers"),
    ):
        with pytest.raises((TypeError, ValueError), match=error):
            cluster.setup(**wrong)
    assert cluster.primary.settings == before
    with pytest.raises(TypeError, match=r"^Primary has no setting 'drain_delay'"):
        Primary(serve).setup(drain_delay=1.0)  # type: ignore[call-arg]
    async with cluster.events("setup", "exit") as heard:
        async with cluster:
            assert (await fetch(cluster.health_address, "/live"))[0] == 200
            cluster.setup(drain_delay=0.01)
            next(iter(cluster.workers.values())).kill(signal.SIGKILL)
            await cluster.serve_forever()  # nobody is replaced
        seen = [await anext(heard) for _ in range(3)]
    assert [event.settings.drain_delay for event in seen if event.name == "setup"] == [0.0, 0.01]
    assert [event.reason for event in seen if isinstance(event, Exit)] == ["killed"]
