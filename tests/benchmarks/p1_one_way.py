"""P1: how many messages a second one worker gets across to the primary."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import perf_counter

from aiocluster import current_worker
from aiocluster.events import Message

from .calls import counted, counting
from .measurement import Comparison, Contender, Measurement, OwnContender, Sample, at_least
from .own_process import python
from .peers import node, sampled
from .primaries import primary_of
from .processor import Processes, Timed
from .programs import answer

MESSAGES = 300_000
PAYLOAD = "x" * 64


async def worker(messages: str) -> None:
    """In the worker: send them all."""
    primary = current_worker()
    with counting("worker"):
        for i in range(int(messages)):
            await primary.send({"i": i, "payload": PAYLOAD})


async def receive(messages: str) -> dict[str, object]:
    """In the primary: messages per second, from the first one's arrival to the last one's."""
    async with primary_of(worker, messages) as primary:
        process = await primary.fork()
        rate: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
        processes = {"primary": [os.getpid()], "worker": [process.pid]}
        with counting("primary"):
            process.on("message", stopwatch(int(messages), processes, rate.set_result))
            return await rate


def stopwatch(
    messages: int, processes: Processes, done: Callable[[dict[str, object]], None]
) -> Callable[[Message], None]:
    """A handler that times a numbered series of messages."""
    timed = Timed(processes)
    last = messages - 1

    def handle(event: Message) -> None:
        i = event.message["i"]
        if i == 0:
            timed.begin()
        elif i == last:
            timed.end()
            done(timed.rate(last))

    return handle


def receive_from_pipe() -> float:
    """The same between two plain processes and `multiprocessing.Pipe`."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=send_to_pipe, args=(sender,))
    process.start()
    sender.close()
    receiver.recv()
    began = perf_counter()
    for _ in range(MESSAGES - 1):
        receiver.recv()
    elapsed = perf_counter() - began
    process.join()
    return (MESSAGES - 1) / elapsed


def send_to_pipe(sender: Connection) -> None:
    for i in range(MESSAGES):
        sender.send({"i": i, "payload": PAYLOAD})


MEASUREMENT = Measurement(
    "P1",
    "one way, worker to primary",
    "msg/s",
    contenders=(
        OwnContender(
            "aiocluster",
            lambda checkout: sampled(checkout.python(receive, str(MESSAGES))),
            calls=lambda checkout: counted(checkout.python(receive, str(MESSAGES)), MESSAGES),
        ),
        Contender(
            "Node cluster",
            lambda: sampled(node("one_way.js", str(MESSAGES), "paced")),
            needs=("node",),
        ),
        Contender(
            "Node cluster, unpaced",
            lambda: sampled(node("one_way.js", str(MESSAGES), "unpaced")),
            needs=("node",),
        ),
        Contender("multiprocessing.Pipe", lambda: Sample(answer(python(receive_from_pipe)))),
    ),
    comparisons=(
        Comparison("aiocluster", "Node cluster", at_least(3.0)),
        Comparison("aiocluster", "Node cluster, unpaced"),
        Comparison("aiocluster", "multiprocessing.Pipe"),
    ),
)
