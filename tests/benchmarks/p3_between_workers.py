"""P3: how many messages a second one worker gets across to another, through the primary."""

from __future__ import annotations

import asyncio
import os

from aiocluster import current_worker

from .calls import counted, counting
from .measurement import Comparison, Contender, Measurement, OwnContender, at_least
from .p1_one_way import MESSAGES, PAYLOAD, stopwatch
from .peers import node, sampled
from .primaries import primary_of

ROLE = "AIOCLUSTER_BENCH_ROLE"
"""Set in the sending worker's environment."""


async def worker(messages: str) -> None:
    """In each of the two workers."""
    if os.environ.get(ROLE) == "sender":
        await send(int(messages))
    else:
        await receive(int(messages))


async def send(messages: int) -> None:
    """Send them all to the worker that the primary names."""
    worker = current_worker()
    receiver = (await worker.wait_for("message")).message
    with counting("sender"):
        for i in range(messages):
            await worker.send_to(receiver, {"i": i, "payload": PAYLOAD})


async def receive(messages: int) -> None:
    """Tell the primary the rate, from the first one's arrival to the last one's."""
    worker = current_worker()
    sender = (await worker.wait_for("message")).message
    rate: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
    processes = {"primary": [worker.primary_pid], "sender": [sender], "receiver": [os.getpid()]}
    worker.on("message", stopwatch(messages, processes, rate.set_result))
    await worker.send("ready")
    with counting("receiver"):
        await rate
    await worker.send(await rate)


async def introduce(messages: str) -> dict[str, object]:
    """In the primary: messages per second, as the receiver tells them."""
    async with primary_of(worker, messages) as primary:
        receiver = await primary.fork()
        await receiver.wait_for("online")
        sender = await primary.fork(env={ROLE: "sender"})
        ready = receiver.wait_for("message")
        await receiver.send(sender.pid)
        await ready
        with counting("primary"):
            told = receiver.wait_for("message")
            await sender.send(receiver.pid)
            rate: dict[str, object] = (await told).message
        return rate


MEASUREMENT = Measurement(
    "P3",
    "worker to worker, through the primary",
    "msg/s",
    contenders=(
        OwnContender(
            "aiocluster",
            lambda checkout: sampled(checkout.python(introduce, str(MESSAGES))),
            calls=lambda checkout: counted(checkout.python(introduce, str(MESSAGES)), MESSAGES),
        ),
        Contender(
            "Node cluster",
            lambda: sampled(node("between_workers.js", str(MESSAGES), "paced")),
            needs=("node",),
        ),
        Contender(
            "Node cluster, unpaced",
            lambda: sampled(node("between_workers.js", str(MESSAGES), "unpaced")),
            needs=("node",),
        ),
    ),
    comparisons=(
        Comparison("aiocluster", "Node cluster", at_least(4.0)),
        Comparison("aiocluster", "Node cluster, unpaced"),
    ),
)
