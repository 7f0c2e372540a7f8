"""`Cluster.call`: an importable function runs in the least busy worker."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from aiocluster import (
    ChannelClosedError,
    Cluster,
    RemoteError,
    RestartPolicy,
    SerializationError,
    TargetError,
    WorkerNotFoundError,
)
from aiocluster.events import Message

from . import calls, inside


async def test_a_sync_function_runs_in_a_thread_of_a_worker() -> None:
    async with Cluster(inside.stay, workers=1) as cluster:
        (worker,) = cluster.workers.values()
        assert await cluster.call(calls.where, "a", [1, {"b": None}]) == [worker.pid, False, ["a", [1, {"b": None}]]]
        assert await cluster.call("tests.messages.calls:where") == [worker.pid, False, []]


async def test_an_async_function_runs_on_its_loop() -> None:
    async with Cluster(inside.stay, workers=1) as cluster:
        (worker,) = cluster.workers.values()
        assert await cluster.call(calls.where_async, 1) == [worker.pid, True, [1]]


async def test_calls_go_to_the_least_busy_worker(tmp_path: Path) -> None:
    async with Cluster(inside.stay, workers=2) as cluster:
        for worker in cluster.workers.values():
            await worker._session.wait_ready()
        gate = tmp_path / "gate"
        waiting = [asyncio.ensure_future(cluster.call(calls.wait_for_file, str(gate))) for _ in range(4)]
        await asyncio.sleep(0)
        calling = [worker._session.calls for worker in cluster.workers.values()]
        gate.touch()
        pids = await asyncio.gather(*waiting)
        assert calling == [2, 2]
        assert sorted(pids) == sorted([worker.pid for worker in cluster.workers.values()] * 2)
        assert [worker._session.calls for worker in cluster.workers.values()] == [0, 0]


async def test_a_function_that_blocks_holds_up_no_message(tmp_path: Path) -> None:
    async with Cluster(inside.stay, workers=1) as cluster:
        (worker,) = cluster.workers.values()
        await cluster.call(inside.echo)
        blocked = asyncio.ensure_future(cluster.call(calls.wait_for_file, str(tmp_path / "gate")))
        assert await worker.request("still there?") == "still there?"
        assert not blocked.done()
        (tmp_path / "gate").touch()
        assert await blocked == worker.pid


async def test_what_it_raises_is_a_remote_error() -> None:
    async with Cluster(inside.stay, workers=1) as cluster:
        for function in (calls.fail, calls.fail_async):
            with pytest.raises(RemoteError) as caught:
                await cluster.call(function, "no")
            assert (caught.value.type_name, caught.value.text) == ("builtins.ValueError", "no")
            assert "raise ValueError(text)" in caught.value.remote_traceback
        with pytest.raises(RemoteError, match=r"SerializationError: message: object"):
            await cluster.call(calls.unpackable)
        with pytest.raises(RemoteError, match="TypeError"):
            await cluster.call(calls.fail)


async def test_what_can_not_be_called_is_told_at_once() -> None:
    async with Cluster(inside.stay, workers=1) as cluster:
        for target in (lambda: None, "tests.messages.calls:missing", "nowhere:at_all", "tests.messages.calls", 5):
            with pytest.raises(TargetError):
                await cluster.call(target)  # type: ignore[arg-type]
        with pytest.raises(SerializationError, match=r"message\[1\]\[0\]: object"):
            await cluster.call(calls.where, object())
        assert [worker._session.calls for worker in cluster.workers.values()] == [0]


async def test_cancelling_it_cancels_an_async_function() -> None:
    async with Cluster(inside.stay, workers=1) as cluster:
        async with cluster.events("message") as heard:
            call = asyncio.ensure_future(cluster.call(calls.wait))
            assert (await anext(heard)).message == "begun"
            call.cancel()
            assert (await anext(heard)).message == "cancelled"
            with pytest.raises(asyncio.CancelledError):
                await call
            with pytest.raises(TimeoutError):
                await cluster.call(calls.wait, timeout=0.1)
            assert [(await anext(heard)).message for _ in range(2)] == ["begun", "cancelled"]


async def test_a_worker_that_dies_meanwhile() -> None:
    restart = RestartPolicy(backoff=(0.0, 0.0))
    async with Cluster(inside.stay, workers=1, restart=restart) as cluster, cluster.events("fork") as forks:
        (worker,) = cluster.workers.values()

        @cluster.on("message")
        def kill(event: Message) -> None:
            worker.kill(signal.SIGKILL)

        with pytest.raises(ChannelClosedError):
            await cluster.call(calls.wait)
        replacement = (await anext(forks)).worker
        assert (await cluster.call(calls.where))[0] == replacement.pid != worker.pid


async def test_an_agent_is_not_called() -> None:
    async with Cluster(inside.stay, workers=1, agents={"agent": inside.stay}) as cluster:
        pids = await asyncio.gather(*(cluster.call(calls.where) for _ in range(4)))
        (worker,) = [worker for worker in cluster.workers.values() if worker.name is None]
        assert {pid for pid, _, _ in pids} == {worker.pid}


async def test_without_an_event_loop_there_is_nobody_to_call() -> None:
    async with Cluster(calls.sleep, workers=1) as cluster:
        with pytest.raises(WorkerNotFoundError):
            await cluster.call(calls.where, timeout=0.1)
        await cluster.stop(graceful=False)
