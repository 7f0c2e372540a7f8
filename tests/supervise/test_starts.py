"""Starts that fail: what is tried again, what counts, and what is said."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Literal

import pytest

from aiocluster import Cluster, RestartLimitError, RestartPolicy, StartupError
from aiocluster.events import Error
from tests.connections.descriptors import no_new_descriptor
from tests.support.events import several

from .inside_starts import exit_with, return_at_once, stay

METHODS: tuple[Literal["spawn", "template"], ...] = ("spawn", "template")


async def all_online(cluster: Cluster, count: int) -> None:
    while sum(worker.state == "online" for worker in cluster.workers.values()) < count:
        await asyncio.sleep(0.01)


# ---- want of resources


@pytest.mark.parametrize("method", METHODS)
async def test_workers_that_end_while_no_descriptor_is_left(
    method: Literal["spawn", "template"], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(stay, workers=4, start_method=method, restart=RestartPolicy(limit=4, backoff=(0.0, 0.0)))
    given_up: list[object] = []
    cluster.on("give_up", given_up.append)
    async with cluster, cluster.events("error") as heard:
        with no_new_descriptor():
            for worker in list(cluster.workers.values()):
                worker.kill(signal.SIGKILL)
            error: Error = await anext(heard)
            assert "Too many open files" in str(error.error)
            assert error.worker is None
            await asyncio.sleep(1.0)
            assert not cluster.workers
        await all_online(cluster, 4)
        assert cluster.stats().restarts == 4
    assert not given_up
    told = [record for record in caplog.records if "Too many open files" in record.getMessage()]
    assert len(told) == 4, "once for each slot"
    assert {record.levelno for record in told} == {logging.WARNING}


async def test_first_workers_wait_for_descriptors() -> None:
    cluster = Cluster(stay, workers=2)
    with no_new_descriptor():
        entering = asyncio.ensure_future(cluster.__aenter__())
        await asyncio.sleep(0.5)
        assert not entering.done()
    await entering
    await cluster.__aexit__()


async def test_first_workers_wait_no_longer_than_a_start_may_take() -> None:
    cluster = Cluster(stay, workers=2, start_timeout=0.5)
    with no_new_descriptor(), pytest.raises(StartupError, match=r"no worker can be started: .*Too many open files"):
        await cluster.__aenter__()


# ---- anything else


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), TypeError("expected str"), ValueError("embedded null byte")]
)
async def test_whatever_a_start_raises_the_slot_is_filled_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(stay, workers=1, restart=RestartPolicy(limit=1000, backoff=(0.0, 0.05)))
    async with cluster, several(cluster, "error", "online") as heard:
        (worker,) = cluster.workers.values()

        def fail(*args: object, **named: object) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr("subprocess.Popen", fail)
            worker.kill(signal.SIGKILL)
            told = (await anext(heard)).error
            assert isinstance(told, StartupError)
            assert str(error) in str(told)
            assert told.__cause__ is error
        while (await anext(heard)).name != "online":
            pass
    assert str(error) in caplog.text


async def test_a_limit_with_code_that_can_not_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = tmp_path / "limited_target.py"
    module.write_text("import asyncio\nasync def run(): await asyncio.Event().wait()\n")
    policy = RestartPolicy(limit=3, backoff=(0.2, 0.2))
    cluster = Cluster("limited_target:run", workers=1, cwd=tmp_path, max_lifetime=0.1, restart=policy)
    async with cluster:
        module.write_text("def run(): pass\nraise LookupError('broken by now')\n")
        with pytest.raises(RestartLimitError, match="LookupError: broken by now"):
            await cluster.serve_forever()
        (worker,) = cluster.workers.values()
        assert worker.state == "online"
    assert caplog.text.count("Traceback") == 1, "the four failures are the same"
    assert caplog.text.count("as before") == 3


# ---- what is said


async def test_targets_that_return_are_named_as_the_reason() -> None:
    cluster = Cluster(return_at_once, workers=2, restart=RestartPolicy(limit=2, backoff=(0.0, 0.0)))
    async with cluster:
        with pytest.raises(RestartLimitError, match=r"the last one: worker \d+: its target returned"):
            await cluster.serve_forever()


async def test_exit_codes_are_named_as_the_reason() -> None:
    cluster = Cluster(exit_with, args=["7"], workers=1, restart=RestartPolicy(limit=1, backoff=(0.0, 0.0)))
    async with cluster:
        with pytest.raises(RestartLimitError, match=r"the last one: worker \d+ ended by exit code 7"):
            await cluster.serve_forever()
