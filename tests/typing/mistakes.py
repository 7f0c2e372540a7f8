"""Mistakes that type checkers must see: on each line that ends with ``# mistake``, and on no other. Never run."""

from __future__ import annotations

import asyncio

import aiocluster
from aiocluster import Clutser  # mistake
from aiocluster import Cluster, Primary, RestartPolicy, WorkerProcess, current_worker
from aiocluster.child_process import prent  # mistake
from aiocluster.child_process import ChildProcess, Parent
from aiocluster.events import Exitt  # mistake
from aiocluster.events import Message

aiocluster.current_wroker()  # mistake


async def serve() -> None:
    worker = current_worker()
    await worker.wait_for("shutdwon")  # mistake
    await worker.wait_for("fork")  # mistake
    worker.on("exit", print)  # mistake
    worker.on("shutdown", lambda event: print(event.message))  # mistake
    await worker.sned("hello")  # mistake
    worker.subscribe("news", on_full="drop")  # mistake
    worker.id = "one"  # mistake
    print(worker.slot + 1)  # mistake
    worker.slot = 1  # mistake


def variables_of_nobody() -> dict[str, str]:
    return {}


def settings() -> None:
    Cluster(serve, shceduling="random")  # mistake
    Cluster(serve, workers="four")  # mistake
    Cluster(serve, workers=2.5)  # mistake
    Cluster(serve, workers=(1, 2, 3))  # mistake
    Cluster(serve, args=1)  # mistake
    Cluster(serve, env=["A=1"])  # mistake
    Cluster(serve, env={"A": 1})  # mistake
    Cluster(serve, env=serve)  # mistake
    Cluster(serve, env=lambda slot: {"A": slot})  # mistake
    Cluster(serve, env=variables_of_nobody)  # mistake
    Cluster(serve, pin_cpus="yes")  # mistake
    Cluster(serve, loop="trio")  # mistake
    Cluster(serve, start_method="fork")  # mistake
    Cluster(serve, restart=3)  # mistake
    Cluster(serve, graceful_timeout="30")  # mistake
    Cluster(serve, max_memory="1G")  # mistake
    Cluster(serve, agents=["jobs"])  # mistake
    Cluster(7)  # mistake
    Primary(serve, workers=4)  # mistake
    Primary(serve, silent="yes")  # mistake
    RestartPolicy(limti=3)  # mistake


def on_message(event: Message) -> None:
    print(event.message)


async def primary_side(cluster: Cluster, primary: Primary, worker: WorkerProcess) -> None:
    primary.setup(agrs=["a"])  # mistake
    primary.setup(workers=4)  # mistake
    primary.setup(drain_delay=1.0)  # mistake
    cluster.setup(workers=4)  # mistake
    cluster.setup(drain_dealy=1.0)  # mistake
    cluster.setup(max_memory="1G")  # mistake
    cluster.primary.setup(name="shop")  # mistake
    primary.settings.silent = True  # mistake
    print(primary.settings.slient)  # mistake
    await cluster.wait_for("exti")  # mistake
    await cluster.wait_for("shutdown")  # mistake
    await primary.wait_for("spawn")  # mistake
    await worker.wait_for("exti")  # mistake
    await worker.wait_for("give_up")  # mistake
    print((await cluster.wait_for("exit")).message)  # mistake
    print((await worker.wait_for("exit")).child)  # mistake
    cluster.on("exti", print)  # mistake
    cluster.off("exti", print)  # mistake
    cluster.on("exit", on_message)  # mistake
    cluster.on("exit", lambda event: print(event.message))  # mistake
    cluster.events("exti")  # mistake
    cluster.events("fork", "exti")  # mistake
    async for gone in cluster.events("exit"):
        print(gone.message)  # mistake
    async for event in cluster.events("fork", "exit"):
        print(event.code)  # mistake
    await cluster.scale("4")  # mistake
    await cluster.scale((2, 8.0))  # mistake
    print(cluster.workers["1"])  # mistake

    @cluster.on("exit")  # mistake
    def hear(event: Message) -> None: ...


async def child_side(child: ChildProcess, parent: Parent) -> None:
    child.on("fork", print)  # mistake
    child.events("online")  # mistake
    print((await child.wait_for("exit")).worker)  # mistake
    await parent.wait_for("exit")  # mistake
    parent.on("mesage", print)  # mistake


asyncio.run(primary_side)  # mistake
