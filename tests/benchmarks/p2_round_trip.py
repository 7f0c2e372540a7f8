"""P2: how long a message to a worker and its answer take, next to what the kernel alone takes.

The floor is a blocking socketpair between two processes that send each other as many bytes as the
packed message has: no loop, no packing, nothing but four system calls and two wake-ups. What a loop
adds to that is measured beside it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import msgpack
import uvloop

from aiocluster import WorkerProcess, current_worker
from aiocluster.events import Message

from . import cores
from .calls import counted, counting
from .measurement import Comparison, Contender, Measurement, OwnContender, Sample, at_most
from .own_process import python
from .peers import node, sampled
from .primaries import primary_of
from .processor import Timed

ROUND_TRIPS = 10_000
WARM_UP = 1_000
MESSAGE = {"i": 123_456, "payload": "x" * 64}


async def echo_worker() -> None:
    """In the worker: every message back to where it came from."""
    cores.own(1)
    worker = current_worker()

    async def echo(event: Message) -> None:
        await worker.send(event.message)

    worker.on("message", echo)
    with counting("worker"):
        await worker.wait_for("disconnect")


async def message_round_trip(times: str) -> dict[str, object]:
    """In the primary: seconds for a message there and one back."""
    async with primary_of(echo_worker) as primary:
        process = await primary.fork()
        await process.wait_for("online")
        cores.own(0)
        timed = Timed({"primary": [os.getpid()], "worker": [process.pid]})
        with counting("primary"):
            await _send_and_receive(process, WARM_UP)
            timed.begin()
            await _send_and_receive(process, int(times))
            timed.end()
        await process.disconnect()
        return timed.duration(int(times))


async def _send_and_receive(process: WorkerProcess, times: int) -> None:
    loop = asyncio.get_running_loop()
    back: asyncio.Future[None]

    def returned(event: Message) -> None:
        back.set_result(None)

    process.on("message", returned)
    for _ in range(times):
        back = loop.create_future()
        await process.send(MESSAGE)
        await back
    process.off("message", returned)


async def reply_worker() -> None:
    """In the worker: answer every request with what was asked."""
    cores.own(1)
    worker = current_worker()
    worker.handle_requests(lambda message, sender: message)
    with counting("worker"):
        await worker.wait_for("disconnect")


async def request_round_trip(times: str) -> dict[str, object]:
    """In the primary: seconds for a request and its reply."""
    async with primary_of(reply_worker) as primary:
        process = await primary.fork()
        await process.wait_for("online")
        cores.own(0)
        timed = Timed({"primary": [os.getpid()], "worker": [process.pid]})
        with counting("primary"):
            await _request(process, WARM_UP)
            timed.begin()
            await _request(process, int(times))
            timed.end()
        await process.disconnect()
        return timed.duration(int(times))


async def _request(process: WorkerProcess, times: int) -> None:
    for _ in range(times):
        await process.request(MESSAGE)


def floor() -> dict[str, object]:
    """Seconds for as many bytes there and back, between two processes that just block."""
    message = bytes(len(msgpack.packb(MESSAGE)))
    ours, theirs = socket.socketpair()
    if (child := os.fork()) == 0:
        cores.own(1)
        ours.close()
        while data := theirs.recv(len(message)):
            theirs.send(data)
        os._exit(0)
    cores.own(0)
    theirs.close()
    with ours:
        _send_and_block(ours, message, WARM_UP)
        timed = Timed({"one": [os.getpid()], "other": [child]})
        timed.begin()
        _send_and_block(ours, message, ROUND_TRIPS)
        timed.end()
    os.wait()
    return timed.duration(ROUND_TRIPS)


def _send_and_block(connection: socket.socket, message: bytes, times: int) -> None:
    for _ in range(times):
        connection.send(message)
        connection.recv(len(message))


def loop_floor() -> dict[str, object]:
    """Seconds for the same between two event loops that do nothing else: what a loop costs."""
    message = bytes(len(msgpack.packb(MESSAGE)))
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    if (child := os.fork()) == 0:
        cores.own(1)
        ours.close()
        uvloop.run(_echo_bytes(theirs))
        os._exit(0)
    cores.own(0)
    theirs.close()
    timed = Timed({"one": [os.getpid()], "other": [child]})
    with ours:
        uvloop.run(_time_bytes(ours, message, timed))
    os.wait()
    return timed.duration(ROUND_TRIPS)


async def _echo_bytes(connection: socket.socket) -> None:
    over = asyncio.Event()

    def echo() -> None:
        if data := connection.recv(4096):
            connection.send(data)
        else:
            over.set()

    asyncio.get_running_loop().add_reader(connection, echo)
    await over.wait()


async def _time_bytes(connection: socket.socket, message: bytes, timed: Timed) -> None:
    loop = asyncio.get_running_loop()
    back: asyncio.Future[None]

    def returned() -> None:
        connection.recv(4096)
        back.set_result(None)

    loop.add_reader(connection, returned)
    for number in range(WARM_UP + ROUND_TRIPS):
        if number == WARM_UP:
            timed.begin()
        back = loop.create_future()
        connection.send(message)
        await back
    timed.end()
    loop.remove_reader(connection)


def _node() -> Sample:
    numbers = map(str, (ROUND_TRIPS, WARM_UP, *cores.available()))
    return sampled(node("round_trip.js", *numbers))


def _ours(name: str, function: Callable[..., object]) -> OwnContender:
    return OwnContender(
        name,
        lambda checkout: sampled(checkout.python(function, str(ROUND_TRIPS))),
        calls=lambda checkout: counted(checkout.python(function, str(ROUND_TRIPS)), WARM_UP + ROUND_TRIPS),
    )


MEASUREMENT = Measurement(
    "P2",
    "round trip, primary to worker and back",
    "s",
    contenders=(
        _ours("aiocluster, request", request_round_trip),
        Contender("blocking socketpair", lambda: sampled(python(floor))),
        Contender("uvloop, bytes alone", lambda: sampled(python(loop_floor))),
        _ours("aiocluster, messages", message_round_trip),
        Contender("Node cluster", _node, needs=("node", "taskset") if cores.available() else ("node",)),
    ),
    comparisons=(
        Comparison("aiocluster, request", "Node cluster", at_most(1.0)),
        Comparison("aiocluster, request", "uvloop, bytes alone", at_most(1.5)),
        Comparison("aiocluster, request", "blocking socketpair"),
        Comparison("uvloop, bytes alone", "blocking socketpair"),
        Comparison("aiocluster, messages", "blocking socketpair"),
        Comparison("Node cluster", "blocking socketpair"),
    ),
)
