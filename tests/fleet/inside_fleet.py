"""What workers and agents of the tests' fleets run."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from aiocluster import BackplaneError, ChannelClosedError, Worker, WorkerNotFoundError, current_worker
from aiocluster.events import Backplane, Message, Undelivered


async def answer() -> None:
    """Does what requests say, and tells the primary what arrives."""
    worker = current_worker()
    tasks = set()
    received: list[Any] = []

    async def hear(topic: str, entered: asyncio.Event) -> None:
        async with worker.subscribe(topic) as messages:
            entered.set()
            async for message in messages:
                await worker.send(["heard", messages.topic, messages.sender, message])

    async def do(request: list[Any], sender: int | str) -> Any:
        match request:
            case ["echo", message]:
                return [os.getpid(), message, sender]
            case ["ask", to, message]:
                return await worker.request_to(to, message, timeout=30)
            case ["send", to, message]:
                await worker.send_to(to, message)
            case ["members"]:
                return {host: list(pids) for host, pids in worker.fleet.members.items()}
            case ["broadcast", message]:
                await worker.fleet.broadcast(message)
            case ["subscribe", topic]:
                entered = asyncio.Event()
                task = asyncio.get_running_loop().create_task(hear(topic, entered))
                tasks.add(task)
                await entered.wait()
            case ["publish", topic, message]:
                try:
                    await worker.publish(topic, message)
                except BackplaneError as error:
                    return str(error)
            case ["stream", to, count, gap]:
                return await stream(worker, to, count, gap)
            case ["received"]:
                return received
            case ["never"]:
                await asyncio.Event().wait()
        return None

    @worker.on("message")
    async def tell(event: Message) -> None:
        received.append(event.message)
        await worker.send(["got", event.sender, event.message])

    @worker.on("undelivered")
    async def give_back(event: Undelivered) -> None:
        await worker.send(["undelivered", event.pid, event.message])

    @worker.on("backplane")
    async def note(event: Backplane) -> None:
        await worker.send(["backplane", event.connected])

    worker.handle_requests(do)
    await asyncio.Event().wait()


async def stream(worker: Worker, to: str, count: int, gap: float) -> list[int]:
    """Sends so many numbers, and returns those that were refused, because the receiver was gone."""
    refused = []
    for number in range(count):
        try:
            await worker.send_to(to, number)
        except (WorkerNotFoundError, ChannelClosedError):
            refused.append(number)
        await asyncio.sleep(gap)
    return refused


def write(path: str) -> None:
    """Writes its token, its pid and the time into a file, again and again: a job that must not run twice at once.

    It never lets its thread rest for long, nor has it an event loop.
    """
    token = current_worker().fencing_token
    with open(path, "a", buffering=1) as file:
        while True:
            file.write(f"{token} {os.getpid()} {time.clock_gettime(time.CLOCK_MONOTONIC)}\n")
            time.sleep(0.005)


async def wait() -> None:
    """Does nothing."""
    await asyncio.Event().wait()
