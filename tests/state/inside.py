"""What the tests have workers do with the state, by `Session.run`."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from aiocluster import Cluster, ClusterError, current_worker
from aiocluster._state.client import ChannelEngine


async def stay() -> None:
    """The workers' target."""
    await asyncio.get_running_loop().create_future()


async def call(name: str, *arguments: Any) -> Any:
    """What an operation returns, or the name of the type that it raises."""
    state = current_worker().state
    try:
        if name == "set":
            key, value, if_absent = arguments
            return await state.set(key, value, if_absent=if_absent)
        return await getattr(state, name)(*arguments)
    except (TypeError, OverflowError) as error:
        return type(error).__name__


async def count(tasks: int, each: int) -> None:
    """Counts in so many tasks at once."""

    async def count_on() -> None:
        for _ in range(each):
            await current_worker().state.incr("n")

    await asyncio.gather(*(count_on() for _ in range(tasks)))


async def append(items: list[Any]) -> None:
    """Appends to a list that others append to, too."""
    state = current_worker().state
    for item in items:
        while not await state.replace("list", before := await state.get("list"), [*before, item]):
            pass


async def hold_in_turns(times: int) -> list[int]:
    """Holds a lock so many times. Returns the tokens."""
    state = current_worker().state
    tokens = []
    for _ in range(times):
        async with state.lock("l") as lease:
            assert await state.incr("holders") == 1
            tokens.append(lease.token)
            assert await state.incr("holders", -1) == 0
    return tokens


async def hears(prefix: str, last: str) -> list[list[Any]]:
    """Says that it watches, and returns what it hears until the key ``last`` changes."""
    state = current_worker().state
    heard = []
    async with state.watch(prefix) as changes:
        await state.incr("watchers")
        async for change in changes:
            heard.append([change.key, change.value])
            if change.key == last:
                break
    return heard


async def count_until_killed() -> None:
    """Counts, and tells the primary each time before it does."""
    worker = current_worker()
    while True:
        await worker.send("now")
        await worker.state.incr("n")


def _connections() -> list[Any]:
    engine = current_worker().state._engine
    assert isinstance(engine, ChannelEngine)
    return [connection for loop, connection in engine._connections.items() if not loop.is_closed()]


async def has_in_forked_child() -> list[bool]:
    """Whether a child that it forks has its channel to the state open, and whether it is a worker's."""
    await current_worker().state.get("a")
    (connection,) = _connections()
    fd = connection.channel.fileno()
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.fstat(fd)
            os.write(write, b"open")
        except OSError:
            os.write(write, b"closed")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with open(read, "rb") as said:
        return [said.read() == b"open", await current_worker().state.get("a", 7) == 7]


async def in_another_thread() -> int:
    """What a loop of another thread counts to."""
    found: list[int] = []

    async def use() -> None:
        state = current_worker().state
        async with state.lock("thread"):
            found.append(await state.incr("thread"))

    thread = threading.Thread(target=lambda: asyncio.run(use()))
    thread.start()
    await asyncio.to_thread(thread.join)
    return found[0]


async def write_to_its_channel(data: bytes) -> str:
    """Writes bytes to the state's process. Returns what becomes of an operation that was under way."""
    state = current_worker().state
    await state.set("mine", 1)
    (connection,) = _connections()
    lost = asyncio.ensure_future(state.incr("mine"))
    await asyncio.sleep(0)
    connection.channel.send(data)
    connection.channel.flush()
    try:
        await lost
        while not connection.channel.is_closed:
            await asyncio.sleep(0.001)
    except ClusterError as error:
        return f"{type(error).__name__}: {error}"
    return "answered"


def run_three_loops() -> None:
    """A target: three loops, one after the other, each of which counts; the last one stays."""

    async def count_once() -> int:
        return await current_worker().state.incr("loops")

    async def count_and_stay() -> None:
        await count_once()
        await current_worker().send(len(_connections()))
        await stay()

    asyncio.run(count_once())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(count_once())
    loop.run_until_complete(count_once())
    loop.close()
    asyncio.run(count_and_stay())


async def ask_for_state() -> None:
    """A target: tells the primary what it is told that has none."""
    try:
        await current_worker().send(str(current_worker().state))
    except ClusterError as error:
        await current_worker().send(f"{type(error).__name__}: {error}")
    await stay()


async def count_at_the_end() -> None:
    """A target: counts once when it has been told to leave, after all else."""
    worker = current_worker()
    begun = asyncio.Event()

    def begin(message: Any, sender: int) -> None:
        begun.set()

    worker.handle_requests(begin)
    await begun.wait()
    try:
        await stay()
    finally:
        await worker.state.incr("ends")


def run_a_cluster() -> None:
    """A program: prints the pid of the process that keeps the state of its cluster, and stays."""

    async def run() -> None:
        async with Cluster("tests.state.inside:stay", workers=1) as cluster:
            await cluster.state.incr("n")
            process = cluster.primary._shared.state
            print(process and process.pid, flush=True)
            await stay()

    asyncio.run(run())
