"""reload(): every worker is replaced, and no client notices."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import product
from pathlib import Path

import pytest

from aiocluster import Cluster, ClusterError, ReloadError
from aiocluster.events import Listening
from tests.support.serving import EXAMPLES, Client, ask, serving

from .inside_cluster import serve
from .inside_reload import broken_if_told, idle, tell_colour
from .load import Load

SERVERS = ("asyncio_app.py", "aiohttp_app.py", "uvicorn_app.py")
POLICIES = ("round_robin", "shared", "reuse_port")

# ---- under load


async def reload_under_load(server: str, policy: str, reloads: int, workers: int = 2) -> Load:
    """What clients meet during so many reloads."""
    cluster = Cluster(EXAMPLES / server, workers=workers, scheduling=policy, env={"PORT": "0"})
    async with serving(cluster, workers) as address, Load(address) as load:
        for _ in range(reloads):
            old = {worker.pid for worker in cluster.workers.values()}
            await load.goes_on()
            await cluster.reload()
            new = {worker.pid for worker in cluster.workers.values()}
            assert len(new) == workers
            assert not new & old
        await load.goes_on()
    return load


@pytest.mark.asyncio(loop_factories=["uvloop"])  # the other loop has its turns below
@pytest.mark.parametrize(("server", "policy"), [*product(SERVERS, POLICIES)])
async def test_no_client_notices(server: str, policy: str) -> None:
    load = await reload_under_load(server, policy, reloads=1)
    assert load.errors == []
    assert len(load.answers) >= 2


@pytest.mark.parametrize("policy", POLICIES)
async def test_with_one_worker(policy: str) -> None:
    load = await reload_under_load("asyncio_app.py", policy, reloads=2, workers=1)
    assert load.errors == []
    assert len(load.answers) == 3


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_the_table() -> None:
    """Three servers, three policies, ten reloads each, 16 clients."""
    errors: list[str] = []
    print(f"\n{'server':16} {'policy':12} {'requests':>9} {'errors':>7} {'seconds':>7}")
    for server, policy in product(SERVERS, POLICIES):
        began = time.monotonic()
        load = await reload_under_load(server, policy, reloads=10)
        seconds = time.monotonic() - began
        errors += [f"{server}, {policy}: {error}" for error in load.errors]
        print(f"{server:16} {policy:12} {load.total:9} {len(load.errors):7} {seconds:7.1f}", flush=True)
    assert errors == []


async def test_a_request_in_flight_is_answered() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1) as address:
        (old,) = cluster.workers.values()
        client = await Client.connect(address)
        while not old.connections:
            await asyncio.sleep(0)
        reloading = asyncio.ensure_future(cluster.reload())
        try:
            while not old._session.life.is_leaving:
                assert await ask(address) in {worker.pid for worker in cluster.workers.values()}
            new = await ask(address)
            assert new != old.pid
            assert not reloading.done()
            assert await client.ask() == old.pid
        finally:
            await client.close()
        await reloading
        assert [worker.pid for worker in cluster.workers.values()] == [new]


# ---- what is new


async def test_it_picks_up_changed_code(tmp_path: Path) -> None:
    module = tmp_path / "changing_of_test.py"
    code = "import asyncio\nfrom aiocluster import current_worker\n"
    code += "async def name():\n    await current_worker().send({!r})\n    await asyncio.Event().wait()\n"
    module.write_text(code.format("as it was"))
    cluster = Cluster("changing_of_test:name", cwd=tmp_path, workers=1)
    async with cluster.events("message") as heard, cluster:
        assert (await anext(heard)).message == "as it was"
        module.write_text(code.format("as it is, at another length"))
        await cluster.reload()
        assert (await anext(heard)).message == "as it is, at another length"


async def test_it_picks_up_a_changed_setup() -> None:
    cluster = Cluster(tell_colour, workers=2, env={"COLOUR_OF_TEST": "red"})
    async with cluster.events("message") as heard, cluster:
        assert [(await anext(heard)).message for _ in range(2)] == ["red"] * 2
        cluster.primary.setup(env={"COLOUR_OF_TEST": "green"})
        await cluster.reload()
        assert [(await anext(heard)).message for _ in range(2)] == ["green"] * 2


# ---- what can't be


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("is not there", "script_of_test.py"),
        ("can't be imported", "ZeroDivisionError"),
        ("raises", "LookupError: broken as told"),
        ("never listens", "not listening where its predecessor listens within 4 seconds"),
    ],
)
async def test_it_is_given_up_if_the_new_one(what: str, told: str, tmp_path: Path) -> None:
    cluster = Cluster(broken_if_told, workers=2, start_timeout=4 if what == "never listens" else 30)
    script = tmp_path / "script_of_test.py"
    script.write_text("1 / 0")
    async with serving(cluster, 2) as address, Load(address, clients=4) as load:
        old = {worker.pid for worker in cluster.workers.values()}
        if what == "raises":
            cluster.primary.setup(env={"BROKEN_OF_TEST": "1"})
        else:
            cluster.primary.setup(target=idle if what == "never listens" else script)
        if what == "is not there":
            script.unlink()
        await load.goes_on()
        with pytest.raises(ReloadError, match="the old workers stay") as caught:
            await cluster.reload()
        assert told in str(caught.value)
        assert {worker.pid for worker in cluster.workers.values()} == old
        await load.goes_on()
        cluster.primary.setup(target=broken_if_told, env={})
        await cluster.reload()
        await load.goes_on()
    assert load.errors == []
    assert set(load.answers) > old


async def test_calls_at_once_join() -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2), cluster.events("fork") as heard:
        await asyncio.gather(*(cluster.reload() for _ in range(5)))
        assert sorted(cluster.workers) == [3, 4]
        await cluster.reload()
        assert sorted(cluster.workers) == [5, 6]
        assert [(await anext(heard)).worker.id for _ in range(4)] == [3, 4, 5, 6]


async def test_a_caller_that_is_cancelled_cancels_no_reload() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1):
        first = asyncio.ensure_future(cluster.reload())
        second = asyncio.ensure_future(cluster.reload())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        assert list(cluster.workers) == [2]


async def test_a_stop_ends_it() -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2), cluster.events("fork") as heard:
        reloading = asyncio.ensure_future(cluster.reload())
        await anext(heard)
        await cluster.stop()
        with pytest.raises(ClusterError, match="the reload has been given up"):
            await reloading
        assert not cluster.workers
        with pytest.raises(ClusterError, match="not running"):
            await cluster.reload()


async def test_while_it_stops() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1) as address:
        client = await Client.connect(address)
        while not cluster.stats().workers[0].connections:
            await asyncio.sleep(0)
        stopping = asyncio.ensure_future(cluster.stop())
        await asyncio.sleep(0)
        with pytest.raises(ClusterError, match="not running"):
            await cluster.reload()
        await client.ask()
        await client.close()
        await stopping


async def test_before_it_was_entered() -> None:
    with pytest.raises(ClusterError, match="not running"):
        await Cluster(serve, workers=1).reload()


async def test_a_worker_that_dies_meanwhile_is_replaced_once() -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2) as address, cluster.events("fork") as heard:
        first, second = cluster.workers.values()
        reloading = asyncio.ensure_future(cluster.reload())
        await anext(heard)
        first.kill(signal.SIGKILL)  # its replacement is on its way already
        second.kill(signal.SIGKILL)
        await reloading
        while not all(worker.state == "listening" for worker in cluster.workers.values()):
            await cluster.wait_for(Listening.name)
        assert len(cluster.workers) == 2
        assert {await ask(address) for _ in range(4)} == {worker.pid for worker in cluster.workers.values()}
