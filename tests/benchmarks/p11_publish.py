"""P11: how many messages a second one process publishes to 1, 4 and 64 others, and how long one takes to arrive.

Beside it Redis pub/sub over a local Unix socket, through redis-py's asyncio client, which sends a hundred at a time.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiocluster import Cluster, current_worker
from aiocluster.events import Message

from .calls import counted, counting
from .checkout import Checkout
from .measurement import Comparison, Contender, Measurement, OwnContender, at_least, at_most
from .own_process import python, target
from .peers import sampled
from .processor import Timed
from .programs import READY_WITHIN

PAYLOAD = "x" * 64
END = "the end"
PIPELINED = 100
TURNS = 2000
"""Of the latency: there and back."""

MESSAGES = {1: 200_000, 4: 80_000, 64: 8_000}
"""By the number of subscribers."""
MESSAGES_BY_REDIS = {1: 40_000, 4: 12_000, 64: 1_000}


# ---- aiocluster


async def worker() -> None:
    """In each worker: slot 0 publishes, and the others subscribe."""
    if current_worker().slot == 0:
        await publish()
    else:
        await subscribe()


async def publish() -> None:
    worker = current_worker()
    said = worker.wait_for("message")
    await worker.send("ready")
    count: int = (await said).message
    with counting("publisher"):
        for _ in range(count):
            await worker.publish("numbers", PAYLOAD)
    await worker.publish("numbers", END)
    await worker.wait_for("disconnect")


async def subscribe() -> None:
    worker = current_worker()
    async with worker.subscribe("numbers") as messages:
        await worker.send("ready")
        with counting("subscriber"):
            async for message in messages:
                if message == END:
                    break
    await worker.send("done")
    await worker.wait_for("disconnect")


class Said:
    """How many workers have said what."""

    def __init__(self, cluster: Cluster) -> None:
        self._counts: dict[str, int] = {}
        self._more = asyncio.Event()
        cluster.on("message", self._hear)

    def _hear(self, event: Message) -> None:
        self._counts[event.message] = self._counts.get(event.message, 0) + 1
        self._more.set()

    async def by(self, count: int, word: str) -> None:
        while self._counts.get(word, 0) < count:
            self._more.clear()
            await self._more.wait()


async def rate(subscribers: str) -> dict[str, object]:
    """In the primary: messages per second, until the last subscriber has the last one."""
    number = int(subscribers)
    cluster = Cluster(target(worker), workers=number + 1, start_method="template")
    said = Said(cluster)
    async with cluster:
        await said.by(number + 1, "ready")
        publisher, *others = sorted(cluster.workers.values(), key=lambda worker: worker.slot or 0)
        timed = Timed(
            {"publisher": [publisher.pid], "primary": [os.getpid()], "subscribers": [one.pid for one in others]}
        )
        with counting("primary"):
            timed.begin()
            await publisher.send(MESSAGES[number])
            await said.by(number, "done")
            timed.end()
    return timed.rate(MESSAGES[number])


async def answering() -> None:
    """In each of two workers: slot 0 publishes and waits for the other one's answer, again and again."""
    worker = current_worker()
    here, there = ("pong", "ping") if worker.slot == 0 else ("ping", "pong")
    async with worker.subscribe(here) as messages:
        begin = worker.wait_for("message")
        await worker.send("ready")
        if worker.slot == 0:
            await begin
            await worker.publish(there, PAYLOAD)
        turns = 0
        async for message in messages:
            if (turns := turns + 1) == TURNS and worker.slot == 0:
                break
            await worker.publish(there, message)
    await worker.send("done")
    await worker.wait_for("disconnect")


async def latency() -> dict[str, object]:
    """In the primary: seconds from one worker's publish to the other worker's loop."""
    cluster = Cluster(target(answering), workers=2)
    said = Said(cluster)
    async with cluster:
        await said.by(2, "ready")
        first, second = sorted(cluster.workers.values(), key=lambda worker: worker.slot or 0)
        timed = Timed({"primary": [os.getpid()], "workers": [first.pid, second.pid]})
        timed.begin()
        await first.send("begin")
        await said.by(1, "done")
        timed.end()
    return timed.duration(2 * TURNS)


# ---- Redis


@contextmanager
def redis_server() -> Iterator[tuple[str, int]]:
    """Runs a server that keeps nothing. Yields its socket's path and its pid."""
    with tempfile.TemporaryDirectory(prefix="aiocluster-bench-") as folder:
        path = f"{folder}/redis.sock"
        options = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", folder]
        with subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) as server:
            try:
                until = time.monotonic() + READY_WITHIN
                while not Path(path).exists():
                    if time.monotonic() > until or server.poll() is not None:
                        sys.exit("redis-server does not listen")
                    time.sleep(0.01)
                yield path, server.pid
            finally:
                server.terminate()


def client(path: str) -> Any:
    from redis.asyncio import Redis

    return Redis(unix_socket_path=path)


@contextmanager
def processes(count: int, run: Callable[[int], Awaitable[None]]) -> Iterator[tuple[list[int], int]]:
    """Forks so many processes that run this; it writes to the pipe whose other end is yielded, besides their pids."""
    import uvloop

    reader, writer = os.pipe()
    pids = []
    for _ in range(count):
        if (pid := os.fork()) == 0:
            try:
                uvloop.run(run(writer))  # type: ignore[arg-type]
            finally:
                os._exit(0)
        pids.append(pid)
    os.close(writer)
    try:
        yield pids, reader
    finally:
        os.close(reader)
        for pid in pids:
            os.waitpid(pid, 0)


def read(pipe: int, count: int) -> None:
    """Reads so many bytes."""
    while count:
        said = os.read(pipe, count)
        if not said:
            sys.exit("a subscriber has ended")
        count -= len(said)


def redis_rate(subscribers: str) -> dict[str, object]:
    """Messages per second, until the last subscriber has the last one."""
    import redis.asyncio  # once, for all processes  # noqa: F401
    import uvloop

    number = int(subscribers)
    count = MESSAGES_BY_REDIS[number]
    end = END.encode()
    with redis_server() as (path, server):

        async def subscribe(writer: int) -> None:
            async with client(path) as connection, connection.pubsub(ignore_subscribe_messages=True) as messages:
                await messages.subscribe("numbers")
                os.write(writer, b"r")
                async for message in messages.listen():
                    if message["data"] == end:
                        break
            os.write(writer, b"d")

        async def publish() -> None:
            async with client(path) as connection:
                for _ in range(count // PIPELINED):
                    pipeline = connection.pipeline(transaction=False)
                    for _ in range(PIPELINED):
                        pipeline.publish("numbers", PAYLOAD)
                    await pipeline.execute()
                await connection.publish("numbers", END)
                await asyncio.to_thread(read, reader, number)

        with processes(number, subscribe) as (pids, reader):
            read(reader, number)
            timed = Timed({"publisher": [os.getpid()], "redis-server": [server], "subscribers": pids})
            timed.begin()
            uvloop.run(publish())
            timed.end()
    return timed.rate(count)


def redis_latency() -> dict[str, object]:
    """Seconds from one process's publish to the other process's loop."""
    import uvloop

    with redis_server() as (path, server):

        async def answer(writer: int) -> None:
            async with client(path) as connection, connection.pubsub(ignore_subscribe_messages=True) as messages:
                await messages.subscribe("ping")
                os.write(writer, b"r")
                async for message in messages.listen():
                    if message["data"] == b"end":
                        break
                    await connection.publish("pong", message["data"])

        async def ask() -> None:
            async with client(path) as connection, connection.pubsub(ignore_subscribe_messages=True) as messages:
                await messages.subscribe("pong")
                timed.begin()
                await connection.publish("ping", PAYLOAD)
                turns = 0
                async for message in messages.listen():
                    if (turns := turns + 1) == TURNS:
                        break
                    await connection.publish("ping", message["data"])
                timed.end()
                await connection.publish("ping", b"end")

        with processes(1, answer) as (pids, reader):
            read(reader, 1)
            timed = Timed({"redis-server": [server], "workers": [os.getpid(), *pids]})
            uvloop.run(ask())
    return timed.duration(2 * TURNS)


def _to(name: str, subscribers: int, goal: float) -> Measurement:
    argument = str(subscribers)

    def own(checkout: Checkout) -> list[str]:
        return checkout.python(rate, argument)

    return Measurement(
        name,
        f"publish to {subscribers} subscriber{'' if subscribers == 1 else 's'}",
        "msg/s",
        contenders=(
            OwnContender(
                "aiocluster",
                lambda checkout: sampled(own(checkout)),
                calls=lambda checkout: counted(own(checkout), MESSAGES[subscribers]),
            ),
            Contender(
                "Redis, by redis-py",
                lambda: sampled(python(redis_rate, argument)),
                needs=("redis-server", "redis"),
            ),
        ),
        comparisons=(Comparison("aiocluster", "Redis, by redis-py", at_least(goal)),),
    )


ONE = _to("P11", 1, 10.0)
FOUR = _to("P11FOUR", 4, 5.0)
MANY = _to("P11MANY", 64, 5.0)

LATENCY = Measurement(
    "P11LATENCY",
    "publish: from one worker to another one's loop",
    "s",
    contenders=(
        OwnContender("aiocluster", lambda checkout: sampled(checkout.python(latency))),
        Contender("Redis, by redis-py", lambda: sampled(python(redis_latency)), needs=("redis-server", "redis")),
    ),
    comparisons=(Comparison("aiocluster", "Redis, by redis-py", at_most(1.0)),),
)
