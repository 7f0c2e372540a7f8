"""P3: how many messages a second one worker gets across to another, through the primary."""

from __future__ import annotations

import asyncio
import os

from aiocluster import Primary, current_worker

from .measurement import Comparison, Contender, Measurement, Sample, at_least
from .own_process import python, target
from .p1_one_way import MESSAGES, PAYLOAD, stopwatch
from .peers import node
from .programs import answer

ROLE = "AIOCLUSTER_BENCH_ROLE"
"""Set in the sending worker's environment."""


async def worker() -> None:
    """In each of the two workers."""
    if os.environ.get(ROLE) == "sender":
        await send()
    else:
        await receive()


async def send() -> None:
    """Send them all to the worker that the primary names."""
    worker = current_worker()
    receiver = (await worker.wait_for("message")).message
    for i in range(MESSAGES):
        await worker.send_to(receiver, {"i": i, "payload": PAYLOAD})


async def receive() -> None:
    """Tell the primary the rate, from the first one's arrival to the last one's."""
    worker = current_worker()
    rate: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    worker.on("message", stopwatch(MESSAGES, rate.set_result))
    await worker.send(await rate)


async def introduce() -> float:
    """In the primary: messages per second, as the receiver tells them."""
    async with Primary(target(worker)) as primary:
        receiver = await primary.fork()
        await receiver.wait_for("online")
        sender = await primary.fork(env={ROLE: "sender"})
        await sender.send(receiver.pid)
        rate: float = (await receiver.wait_for("message")).message
        return rate


MEASUREMENT = Measurement(
    "P3",
    "worker to worker, through the primary",
    "msg/s",
    contenders=(
        Contender("aiocluster", lambda: Sample(answer(python(introduce)))),
        Contender(
            "Node cluster",
            lambda: Sample(answer(node("between_workers.js", str(MESSAGES), "paced"))),
            needs=("node",),
        ),
        Contender(
            "Node cluster, unpaced",
            lambda: Sample(answer(node("between_workers.js", str(MESSAGES), "unpaced"))),
            needs=("node",),
        ),
    ),
    comparisons=(
        Comparison("aiocluster", "Node cluster", at_least(4.0)),
        Comparison("aiocluster", "Node cluster, unpaced"),
    ),
)
