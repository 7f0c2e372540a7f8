"""What the workers of `test_topics` do: each has a copy of this module."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from aiocluster import Subscription, current_worker

held = AsyncExitStack()
subscriptions: list[Subscription] = []
publishing: list[asyncio.Task[None]] = []


async def stay() -> None:
    """The target of an agent."""
    await asyncio.Event().wait()


async def subscribe(topics: list[str], on_full: Any = "wait") -> None:
    """Subscribes, until the process ends."""
    subscriptions.append(await held.enter_async_context(current_worker().subscribe(*topics, on_full=on_full)))


async def take(count: int, which: int = 0) -> list[Any]:
    """The next messages of the subscription made at that place: topic, sender, and what they say."""
    messages = subscriptions[which]
    return [[messages.topic, messages.sender, message] for message in [await anext(messages) for _ in range(count)]]


async def count_up_to(last: int) -> list[int]:
    """Takes numbers until the last one: how many there were, whether they rose, and how many were dropped."""
    messages = subscriptions[0]
    numbers = []
    async for number, _ in messages:
        numbers.append(number)
        if number == last:
            break
    return [len(numbers), numbers == sorted(set(numbers)), messages.dropped]


async def publish(topic: str, *messages: Any) -> None:
    for message in messages:
        await current_worker().publish(topic, message)


async def publish_numbers(topic: str, begin: int, end: int, size: int) -> None:
    for number in range(begin, end):
        await current_worker().publish(topic, [number, b"x" * size])


async def begin_numbers(topic: str, begin: int, end: int, size: int) -> int:
    """Begins to publish numbers, and returns when it has to wait: how many were published."""
    topics = current_worker()._session.topics()
    task = asyncio.create_task(publish_numbers(topic, begin, end, size))
    publishing.append(task)
    while not (topic in topics.flows and topics.flows[topic]._queue.waiting) and not task.done():
        await asyncio.sleep(0.002)
    return topics.flows[topic]._cost


async def has_published() -> None:
    """Returns when all of them are."""
    await asyncio.gather(*publishing)


async def iterate() -> None:
    """Iterates, as many an application's main task does, until it is told to leave."""
    worker = current_worker()
    async with worker.subscribe("lines") as lines:
        await worker.send("subscribed")
        async for line in lines:
            await worker.send(line)


def one_loop_after_the_other() -> None:
    """Each loop has a subscription; the first one leaves its own behind, with something in it."""

    async def forget() -> None:
        subscriptions.append(await current_worker().subscribe("lines").__aenter__())
        await current_worker().send("subscribed")
        await current_worker().wait_for("message")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(forget())
    loop.close()
    asyncio.run(iterate())


async def kill_oneself_while_publishing() -> None:
    import os
    import signal

    worker = current_worker()
    await worker.wait_for("message")
    for number in range(1000):
        await worker.publish("lines", [number, "x" * 1000])
        if number == 500:
            await worker.publish("long", b"x" * 10_000_000)
    os.kill(os.getpid(), signal.SIGKILL)
