"""Messages from worker to worker.

Three workers pass a note around, greet all others, and ask the next one a question: by ``send_to``, ``broadcast`` and
``request_to``, each with the pid of the receiver. In Node only a parent and its child can send to each other.

    $ python worker_to_worker.py
    primary 4711
    the note went 4712 → 4713 → 4714 → 4712
    …
"""

import asyncio
import os
from typing import Any

from aiocluster import Primary, current_worker
from aiocluster.events import Message

WORKERS = 3


async def work() -> None:
    """The worker: reports the messages that it gets to the primary."""
    worker = current_worker()

    def next_one() -> int:
        """The pid of the worker after this one, in a ring."""
        ring = sorted([worker.pid, *worker.peers])
        return ring[(ring.index(worker.pid) + 1) % len(ring)]

    async def hear(event: Message) -> None:
        match event.message:
            case "begin":  # the primary sends this when all workers are online
                await worker.send_to(next_one(), {"note": [worker.pid]})
            case {"note": path} if worker.pid != path[0]:
                await worker.send_to(next_one(), {"note": [*path, worker.pid]})
            case {"note": path}:
                await worker.send(f"the note went {' → '.join(map(str, [*path, worker.pid]))}")
                await worker.broadcast("greet")
                answer = await worker.request_to(next_one(), "who are you?")
                await worker.send(f"{worker.pid} asked the next one: {answer}")
            case "greet":
                await worker.send(f"{worker.pid} was greeted by {event.sender}")

    def reply(question: Any, sender: int) -> str:
        return f"I am worker {worker.id}, pid {worker.pid}, and you are {sender}"

    worker.on("message", hear)
    worker.handle_requests(reply)
    await asyncio.get_running_loop().create_future()


async def main() -> None:
    """The primary: starts the workers, tells the first one to begin, and prints their reports."""
    print("primary", os.getpid())
    async with Primary(work) as primary, primary.events("message") as heard:
        workers = [await primary.fork() for _ in range(WORKERS)]
        for worker in workers:
            await worker.wait_for("online")
        await workers[0].send("begin")
        for _ in range(1 + (WORKERS - 1) + 1):  # the note's path, the greetings, the answer
            print((await anext(heard)).message, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
