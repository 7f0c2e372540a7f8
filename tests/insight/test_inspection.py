"""What is found in a worker that is looked into, whatever its loop does."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from aiocluster import Cluster, ClusterError, WorkerProcess
from aiocluster._cli.tasks import tree
from aiocluster._primary import side
from aiocluster._wire.codec import unpack

from .inside_insight import block_when_told, with_tasks


async def inspected(worker: WorkerProcess, what: str, seconds: float = 0.0) -> Any:
    return unpack(await worker._session.side.inspect(what, seconds, 100.0))


async def test_tasks_form_a_tree(worker_loop: Any) -> None:
    cluster = Cluster(with_tasks, workers=1, loop=worker_loop)
    async with cluster.events("message") as ready, cluster:
        await anext(ready)
        (worker,) = cluster.workers.values()
        while True:  # a task is made before it runs, and runs before it waits
            found = await inspected(worker, "tasks")
            lines = [line.partition(":")[0] for line in tree(found["tasks"])]
            below = [line for line in lines if line.startswith(("│  ", "   "))]
            innermost = {task["name"]: task["stack"][0]["function"] for task in found["tasks"]}
            if len(below) == 8 and innermost["first leaf"] == innermost["deep"] == "Event.wait":
                break
            await asyncio.sleep(0.01)
        assert lines == [
            "Task-1",
            "├─ awaits",
            "│  └─ awaited",
            "├─ middle",
            "│  ├─ first leaf",
            "│  └─ second leaf",
            "├─ shields",
            "│  └─ shielded",
            "├─ waits",
            "│  └─ waited for",
            "├─ waits for first",
            "│  └─ first",
            "├─ waits shortly",
            "│  └─ timed",
            "└─ with anyio",
            "   └─ deep",
            "alone",
        ]
        by_name = {task["name"]: task for task in found["tasks"]}
        leaf = by_name["first leaf"]
        assert [line["function"] for line in leaf["stack"]] == ["Event.wait", "leaf"]
        assert [line["own"] for line in leaf["stack"]] == [False, True]
        assert leaf["stack"][1]["file"] == "tests/insight/inside_insight.py"
        assert (leaf["runs"], leaf["awaits"]) == (False, "Future")
        deep = [line["function"] for line in by_name["deep"]["stack"]]  # whatever it is that was called deeply
        assert deep == ["Event.wait", "leaf", "generator", *["deep"] * 47]


async def test_a_blocked_loop_hides_nothing(worker_loop: Any) -> None:
    async with Cluster(block_when_told, workers=1, loop=worker_loop, graceful_timeout=0.1) as cluster:
        (worker,) = cluster.workers.values()
        await worker.send(["compute", 60.0])
        while True:
            found = await inspected(worker, "stacks")
            main = found["threads"][0]
            if main["stack"][0]["function"] == "compute":
                break
        assert (main["name"], main["is_main"]) == ("MainThread", True)
        assert main["stack"][0]["own"]
        assert {task["coroutine"] for task in found["tasks"]} >= {"_run.<locals>.run"}

        profile = await inspected(worker, "profile", 0.5)
        assert profile["looks"] > 1
        busy = [stack for stack in profile["stacks"] if not stack["idle"]]
        assert {stack["thread"] for stack in busy} == {"MainThread"}
        assert {profile["frames"][stack["frames"][-1]]["name"] for stack in busy} == {"compute"}
        worker.kill(signal.SIGKILL)


async def test_a_worker_that_waits_is_idle(worker_loop: Any) -> None:
    async with Cluster(block_when_told, workers=1, loop=worker_loop) as cluster:
        (worker,) = cluster.workers.values()
        assert await worker.request("its loop runs") == "its loop runs"
        profile = await inspected(worker, "profile", 0.2)
        idle = sum(stack["count"] for stack in profile["stacks"] if stack["idle"])
        assert idle > 0.9 * sum(stack["count"] for stack in profile["stacks"])


async def test_who_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Cluster(block_when_told, workers=1) as cluster:
        (worker,) = cluster.workers.values()
        with pytest.raises(ClusterError, match="this worker can't show 'nothing'"):
            raise ClusterError((await inspected(worker, "nothing"))["error"])
        monkeypatch.setattr(side, "_ANSWERS_WITHIN", 0.3)
        worker.kill(signal.SIGSTOP)
        with pytest.raises(ClusterError, match=r"^it does not answer: it is stopped, or"):
            await inspected(worker, "stacks")
        worker.kill(signal.SIGCONT)
        looking = asyncio.create_task(inspected(worker, "profile", 60.0))
        await inspected(worker, "tasks")
        worker.kill(signal.SIGKILL)
        with pytest.raises(ClusterError, match=r"^it has ended$"):
            await looking


async def test_nonsense_on_the_side_channel_costs_only_that(caplog: pytest.LogCaptureFixture) -> None:
    async with Cluster(block_when_told, workers=1) as cluster:
        (worker,) = cluster.workers.values()
        looking = asyncio.create_task(inspected(worker, "profile", 60.0))
        await inspected(worker, "tasks")
        await worker.send(["nonsense", 0.0])
        with pytest.raises(ClusterError):
            await looking
        assert f"the side channel of worker 1 (pid {worker.pid}) is closed" in caplog.text
        assert await worker.request("goes on") == "goes on"
        with pytest.raises(ClusterError, match="has no side channel"):
            await inspected(worker, "tasks")
