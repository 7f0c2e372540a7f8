"""P10: what one connection and one routed message cost the primary with more and more workers, and what idle ones cost.

Workers are forked from a template. As many clients as workers times eight connect, a connection for each request, so
each worker has as much to do at a time whatever their number is. For the messages, each worker sends requests to the
next one, one after the other, and the last to the first; a request and its reply are two routed messages. The figure is
always CPU time, because so many workers on few cores are slow for reasons that have nothing to do with the primary.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping

from aiocluster import Cluster, current_worker
from aiocluster.events import Message

from . import idle_worker, p4_connections
from .calls import counting
from .checkout import Checkout
from .measurement import Calls, Comparison, Measurement, OwnContender, Sample, at_most
from .own_process import stdin_closed, target
from .peers import sampled, wrk
from .processor import Timed, family
from .programs import serving

SIZES = (4, 16, 64, 256)
CLIENTS_PER_WORKER = 8
REQUESTS = 20_480
"""Of all workers together."""
IDLE_SECONDS = 30.0
"""As many as a worker at rest takes from one report to the next."""
SETTLE_SECONDS = 15.0
"""After the start, until the workers rest."""
MESSAGE = {"i": 123_456, "payload": "x" * 64}


async def serve(workers: str, scheduling: str) -> None:
    """In the primary: say the port when all workers listen, and serve until told to end. No policy: the default."""
    cluster = Cluster(
        target(p4_connections.worker), workers=int(workers), start_method="template", scheduling=scheduling or None
    )
    async with cluster.events("listening") as heard, cluster:
        ports = {(await anext(heard)).address.port for _ in range(int(workers))}
        print(json.dumps({"port": ports.pop()}), flush=True)
        with counting("primary"):
            await stdin_closed()


async def ring_worker() -> None:
    """In each worker: answer requests, and when the primary says so, send as many as it says to whom it says."""
    worker = current_worker()
    worker.handle_requests(lambda message, sender: message)
    told = (await worker.wait_for("message")).message
    for _ in range(told["times"]):
        await worker.request_to(told["to"], MESSAGE)
    await worker.send("done")
    await worker.wait_for("disconnect")


async def route(workers: str) -> dict[str, object]:
    """In the primary: the CPU time of one routed message."""
    number = int(workers)
    missing = number
    all_done = asyncio.Event()

    def done(event: Message) -> None:
        nonlocal missing
        missing -= 1
        if not missing:
            all_done.set()

    cluster = Cluster(target(ring_worker), workers=number, start_method="template")
    cluster.on("message", done)
    async with cluster:
        ring = list(cluster.workers.values())
        timed = Timed({"primary": [os.getpid()], "workers": [worker.pid for worker in ring]})
        timed.begin()
        for worker, following in zip(ring, [*ring[1:], ring[0]], strict=True):
            await worker.send({"to": following.pid, "times": REQUESTS // number})
        await all_done.wait()
        timed.end()
    cpu = timed.cpu_of_each(2 * REQUESTS)
    return {"value": cpu["primary"], "cpu": cpu}


async def idle(workers: str) -> dict[str, object]:
    """In the primary: the CPU time of all processes of the cluster in a second in which nothing happens."""
    number = int(workers)
    cluster = Cluster(target(idle_worker.listen), workers=number, start_method="template")
    async with cluster.events("listening") as heard, cluster:
        for _ in range(number):
            await anext(heard)
        await asyncio.sleep(SETTLE_SECONDS)
        timed = Timed(family(os.getpid()))
        timed.begin()
        await asyncio.sleep(IDLE_SECONDS)
        timed.end()
    cpu = timed.cpu_of_each(timed.seconds)
    return {"value": sum(cpu.values()), "cpu": cpu}


def _named(workers: int) -> str:
    return f"{workers} workers"


def _connections(name: str, title: str, scheduling: str) -> Measurement:
    def of(workers: int) -> OwnContender:
        def sample(checkout: Checkout) -> Sample:
            with serving(checkout.python(serve, str(workers), scheduling)) as port:
                taken = wrk(port, family(), clients=CLIENTS_PER_WORKER * workers)
            return Sample(taken.cpu["primary"], taken.errors, cpu=taken.cpu)

        def calls(checkout: Checkout) -> Mapping[str, Calls]:
            command = checkout.python(serve, str(workers), scheduling)
            return p4_connections.counted_connections(command, CLIENTS_PER_WORKER * workers)

        return OwnContender(_named(workers), sample, needs=("wrk",), calls=calls)

    contenders = tuple(map(of, SIZES))
    comparisons = tuple(Comparison(_named(size), _named(SIZES[0]), at_most(1.3)) for size in SIZES[1:])
    return Measurement(name, f"CPU time of the primary for a connection, {title}", "s", contenders, comparisons)


CONNECTIONS = _connections("P10", "default policy", "")
ROUND_ROBIN = _connections("P10RR", "round robin", "round_robin")


def _routed(workers: int) -> OwnContender:
    return OwnContender(_named(workers), lambda checkout: sampled(checkout.python(route, str(workers))))


ROUTED = Measurement(
    "P10ROUTED",
    "CPU time of the primary for a message from worker to worker",
    "s",
    contenders=tuple(map(_routed, SIZES)),
    comparisons=tuple(Comparison(_named(size), _named(SIZES[0]), at_most(1.1)) for size in SIZES[1:]),
)


def _idle(workers: int) -> OwnContender:
    return OwnContender(_named(workers), lambda checkout: sampled(checkout.python(idle, str(workers))))


IDLE = Measurement(
    "P10IDLE",
    f"CPU time of a whole idle cluster in a second (goal for {SIZES[-1]} workers: 10 ms)",
    "s",
    contenders=tuple(map(_idle, SIZES)),
    comparisons=(),
)
