"""What type checkers must know, and must not complain of. Never run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

from aiocluster import (
    Address,
    Cluster,
    ClusterStats,
    Primary,
    RestartPolicy,
    Settings,
    Subscription,
    Worker,
    WorkerProcess,
)
from aiocluster import current_worker as current
from aiocluster.child_process import ChildProcess, Parent, exec, fork, parent
from aiocluster.events import (
    ChildExit,
    Close,
    Disconnect,
    Error,
    Event,
    Exit,
    Fork,
    GiveUp,
    Listening,
    Message,
    Online,
    Setup,
    Shutdown,
    Spawn,
    Undelivered,
)
from aiocluster.settings import ClusterSettings


async def serve() -> None:
    worker = current()
    assert_type(worker, Worker)
    assert_type(worker.slot, int | None)
    assert_type(await worker.wait_for("message"), Message)
    assert_type(await worker.wait_for("disconnect"), Disconnect)
    assert_type(await worker.wait_for("error"), Error)
    assert_type(await worker.wait_for("undelivered"), Undelivered)
    assert_type(await worker.wait_for("shutdown", timeout=1.0), Shutdown)
    async for message in worker.messages():
        print(message)
    await worker.publish("news", {"text": "hello"})
    async with worker.subscribe("news", "weather", on_full="drop_oldest") as heard:
        assert_type(heard, Subscription)
        assert_type(heard.topic, str)
        assert_type(heard.sender, int | str)
        assert_type(heard.dropped, int)
        async for message in heard:
            print(message)


def variables_of(slot: int) -> Mapping[str, str]:
    return {"DEVICE": str(slot)}


def settings() -> None:
    Cluster()
    Cluster("package.module:app", workers=4)
    Cluster("package.module:app", workers=(2, 8))
    Cluster(Path("serve.py"), args=["--verbose"], workers="auto", env={"A": "1"}, cwd=Path("/"))
    Cluster(serve, restart=RestartPolicy(limit=3), agents={"jobs": "package:jobs"}, reload_on_change=["src", Path("x")])
    Cluster(serve, weights=(1, 2), scheduling="weighted_round_robin", max_memory=2**30, loop="asyncio")
    Cluster(serve, env=lambda slot: {"DEVICE": str(slot)}, pin_cpus=True)
    Primary(serve, env=variables_of).setup(env=variables_of, pin_cpus=False)
    given: ClusterSettings = {"workers": 2, "silent": True}
    Cluster(serve, **given)


async def primary_side(cluster: Cluster, primary: Primary, worker: WorkerProcess) -> None:
    primary.setup(args=["a"], target=serve, graceful_timeout=5)
    cluster.setup(target=serve, max_memory=2**30, restart=False, health=None, reload_on_change=["src"])
    cluster.primary.setup(drain_delay=1.0, weights=(1, 2), env=variables_of)
    of_a_cluster: Primary = cluster.primary
    of_a_cluster.setup(args=["a"])
    assert_type(primary.settings, Settings)
    assert_type(await cluster.wait_for("setup"), Setup)
    assert_type(await cluster.wait_for("fork"), Fork)
    assert_type(await cluster.wait_for("online"), Online)
    assert_type(await cluster.wait_for("listening"), Listening)
    assert_type(await cluster.wait_for("message"), Message)
    assert_type(await cluster.wait_for("disconnect"), Disconnect)
    assert_type(await cluster.wait_for("exit"), Exit)
    assert_type(await cluster.wait_for("error"), Error)
    assert_type(await cluster.wait_for("undelivered"), Undelivered)
    assert_type(await cluster.wait_for("give_up"), GiveUp)
    assert_type(await cluster.wait_for(Listening.name), Listening)
    assert_type(await primary.wait_for("exit"), Exit)
    assert_type(await worker.wait_for("exit"), Exit)
    assert_type(await worker.wait(), Exit)
    assert_type((await worker.wait_for("listening")).address, Address)
    assert_type(worker.slot, int | None)
    assert_type(cluster.stats(), ClusterStats)
    assert_type(cluster.stats().workers[0].slot, int | None)
    async with cluster.events("exit") as exits:
        async for gone in exits:
            assert_type(gone, Exit)
            print(gone.worker.pid)
    async for event in cluster.events("fork", "exit"):
        base: Event = event
        print(base.name)
        if isinstance(event, Exit):
            assert_type(event.worker, WorkerProcess)
        if event.name == "exit":
            print(event.code)
    async for event in primary.events():
        match event:
            case Message(sender=sender, message=message):
                assert_type(sender, int | str)
                print(message)
            case Fork(worker=forked):
                assert_type(forked, WorkerProcess)

    @cluster.on("exit")
    def exited(event: Exit) -> None:
        print(event.code)

    @cluster.on("message")
    async def hear(event: Message) -> int | str:
        return event.sender

    @worker.on("error")
    def any_event(event: Event) -> None:
        print(event.name)

    heard: list[Event] = []
    cluster.on("exit", heard.append)
    cluster.on("exit", print)
    cluster.on("exit", lambda event: event.worker.kill())
    cluster.on("give_up", lambda event: len(event.exits))
    cluster.off("exit", exited)


async def child_side(child: ChildProcess) -> None:
    assert_type(await fork("script.py"), ChildProcess)
    assert_type((await exec("ls")).stdout, str)
    assert_type((await exec("ls", encoding=None)).stdout, bytes)
    assert_type(await child.wait_for("spawn"), Spawn)
    assert_type(await child.wait_for("message"), Message)
    assert_type(await child.wait_for("disconnect"), Disconnect)
    assert_type(await child.wait_for("exit"), ChildExit)
    assert_type(await child.wait(), ChildExit)
    assert_type(await child.wait_for("close"), Close)
    child.on("exit", lambda event: event.child.pid)
    async for event in child.events("exit"):
        assert_type(event, ChildExit)
    assert_type(parent(), Parent | None)
    if (up := parent()) is not None:
        reply: Any = await up.request("question")
        assert_type(await up.wait_for("message"), Message)
        print(reply)
