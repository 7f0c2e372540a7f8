"""P6: how many connected sockets a second the primary hands to a worker, one with each message.

Timed in the primary, from the first ``send`` to the worker's word that it holds the last one. The
sockets are connected beforehand, and nobody closes theirs before the clock has stopped.
"""

from __future__ import annotations

import asyncio
import os
import socket

from aiocluster import Primary, current_worker
from aiocluster.events import Message

from .calls import counted, counting
from .measurement import Comparison, Contender, Measurement, OwnContender, at_least
from .own_process import target
from .peers import node, sampled
from .processor import Timed

SOCKETS = 2_000
"""Twice as many descriptors are open at a time."""


async def worker() -> None:
    """In the worker: hold what comes, and say so when it is all there."""
    worker = current_worker()
    held: list[socket.socket] = []
    all_there = asyncio.Event()

    def hold(event: Message) -> None:
        held.extend(event.handles)
        if len(held) == SOCKETS:
            all_there.set()

    worker.on("message", hold)
    with counting("worker"):
        await all_there.wait()
    await worker.send("all there")
    await worker.wait_for("disconnect")
    for handle in held:
        handle.close()


async def hand_over() -> dict[str, object]:
    """In the primary: sockets per second."""
    clients, accepted = connected()
    async with Primary(target(worker)) as primary:
        process = await primary.fork()
        await process.wait_for("online")
        all_there = process.wait_for("message")
        timed = Timed({"primary": [os.getpid()], "worker": [process.pid]})
        with counting("primary"):
            timed.begin()
            for i, connection in enumerate(accepted):
                await process.send({"i": i}, handles=[connection])
            await all_there
            timed.end()
    for client in clients:
        client.close()
    return timed.rate(SOCKETS)


def connected() -> tuple[list[socket.socket], list[socket.socket]]:
    """Both ends of as many connections as are needed."""
    clients, accepted = [], []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(SOCKETS):
            clients.append(socket.create_connection(listener.getsockname()))
            accepted.append(listener.accept()[0])
    return clients, accepted


MEASUREMENT = Measurement(
    "P6",
    "connected sockets, handed to a worker",
    "sockets/s",
    contenders=(
        OwnContender(
            "aiocluster",
            lambda checkout: sampled(checkout.python(hand_over)),
            calls=lambda checkout: counted(checkout.python(hand_over), SOCKETS),
        ),
        Contender(
            "Node cluster",
            lambda: sampled(node("handles.js", str(SOCKETS))),
            needs=("node",),
        ),
    ),
    comparisons=(Comparison("aiocluster", "Node cluster", at_least(3.0)),),
)
