"""P12: the state: how long one get, set or incr takes, and how many a worker does from a hundred tasks at once.

Beside it a Redis over a local Unix socket, through redis-py's asyncio client: bare, and as the state's own engine. And
how long it takes to read a key that is mirrored in the worker.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiocluster import Cluster, current_worker

from .calls import counted, counting
from .checkout import Checkout
from .measurement import Comparison, Contender, Goal, Measurement, OwnContender, at_least, at_most
from .own_process import python, target
from .p11_publish import client, redis_server
from .peers import sampled
from .processor import Timed

TASKS = 100
ALONE = 5000
"""Operations, one after the other."""
EACH = 300
"""Operations of each of the tasks."""
READS = 200_000
VALUE = "x" * 64
MEMORY, REDIS = "aiocluster", "aiocluster, in a Redis"
BARE = "Redis, by redis-py"

Operation = Callable[[], Awaitable[Any]]


async def perform(operation: Operation, tasks: int) -> None:
    """One task, or many, do it again and again."""

    async def repeat(times: int) -> None:
        for _ in range(times):
            await operation()

    if tasks == 1:
        await repeat(ALONE)
    else:
        await asyncio.gather(*(repeat(EACH) for _ in range(tasks)))


def _count(tasks: int) -> int:
    return ALONE if tasks == 1 else EACH * tasks


def _figure(timed: Timed, tasks: int) -> dict[str, object]:
    return timed.duration(_count(tasks)) if tasks == 1 else timed.rate(_count(tasks))


# ---- aiocluster


async def worker(name: str, tasks: str) -> None:
    """In the worker: does it each time the primary says so."""
    worker = current_worker()
    state = worker.state
    await state.set("key", 0 if name == "incr" else VALUE)
    operations: dict[str, Operation] = {
        "get": lambda: state.get("key"),
        "set": lambda: state.set("key", VALUE),
        "incr": lambda: state.incr("key"),
    }

    async def answer(message: Any, sender: int) -> None:
        with counting("worker"):
            await perform(operations[name], int(tasks))

    worker.handle_requests(answer)
    await worker.send("ready")
    await worker.wait_for("disconnect")


async def own(name: str, tasks: str, url: str = "memory:") -> dict[str, object]:
    """In the primary: seconds of one operation, or operations per second."""
    cluster = Cluster(target(worker), args=(name, tasks), workers=1, state=url)
    async with cluster.events("message") as messages, cluster:
        await anext(messages)
        (one,) = cluster.workers.values()
        keeper = cluster.primary._shared.state
        others = {} if keeper is None or keeper.pid is None else {"state": [keeper.pid]}
        timed = Timed({"worker": [one.pid], **others})
        timed.begin()
        await one.request("begin")
        timed.end()
    return _figure(timed, int(tasks))


def own_in_redis(name: str, tasks: str) -> dict[str, object]:
    """The same with the state in a Redis."""
    import uvloop

    with redis_server() as (path, _):
        return uvloop.run(own(name, tasks, f"unix://{path}"))


async def mirroring() -> None:
    """In the worker: reads a mirrored key."""
    worker = current_worker()
    await worker.state.set("flag", VALUE)
    async with worker.state.mirror("flag") as flags:
        begin = time.perf_counter()
        for _ in range(READS):
            flags["flag"]
        await worker.send((time.perf_counter() - begin) / READS)
        await worker.wait_for("disconnect")


async def mirrored() -> dict[str, object]:
    """In the primary: seconds of one read."""
    cluster = Cluster(target(mirroring), workers=1)
    async with cluster.events("message") as messages, cluster:
        return {"value": (await anext(messages)).message}


# ---- Redis


def bare_redis(name: str, tasks: str) -> dict[str, object]:
    """The same by redis-py: seconds of one operation, or operations per second."""
    import uvloop

    async def run(path: str, server: int) -> dict[str, object]:
        async with client(path) as connection:
            await connection.set("key", 0 if name == "incr" else VALUE)
            operations: dict[str, Operation] = {
                "get": lambda: connection.get("key"),
                "set": lambda: connection.set("key", VALUE),
                "incr": lambda: connection.incr("key"),
            }
            timed = Timed({"worker": [os.getpid()], "redis-server": [server]})
            timed.begin()
            await perform(operations[name], int(tasks))
            timed.end()
        return _figure(timed, int(tasks))

    with redis_server() as (path, server):
        return uvloop.run(run(path, server))


def _measurement(name: str, tasks: int, goal: Goal, in_redis: Goal) -> Measurement:
    arguments = (name, str(tasks))

    def command(checkout: Checkout) -> list[str]:
        return checkout.python(own, *arguments)

    needs = ("redis-server", "redis")
    return Measurement(
        f"P12{name.upper()}" + ("" if tasks == 1 else "MANY"),
        f"state: {name}, " + ("alone" if tasks == 1 else f"from {tasks} tasks at once"),
        "s" if tasks == 1 else "op/s",
        contenders=(
            OwnContender(
                MEMORY,
                lambda checkout: sampled(command(checkout)),
                calls=lambda checkout: counted(command(checkout), _count(tasks)),
            ),
            OwnContender(REDIS, lambda checkout: sampled(checkout.python(own_in_redis, *arguments)), needs=needs),
            Contender(BARE, lambda: sampled(python(bare_redis, *arguments)), needs=needs),
        ),
        comparisons=(Comparison(MEMORY, BARE, goal), Comparison(REDIS, BARE, in_redis)),
    )


ALL = tuple(
    _measurement(name, tasks, goal, in_redis)
    for name in ("get", "set", "incr")
    for tasks, goal, in_redis in ((1, at_most(1.3), at_most(1 / 0.9)), (TASKS, at_least(3.0), at_least(0.9)))
)

MIRRORED = Measurement(
    "P12MIRROR",
    "state: a read of a mirrored key",
    "s",
    contenders=(OwnContender(MEMORY, lambda checkout: sampled(checkout.python(mirrored))),),
    comparisons=(),
)
