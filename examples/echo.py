"""A message to a worker, and its reply.

Seed 003: the worker sends "hi there" back as it is. A worker iterates over its messages. The primary gets messages as
events, and each event has the worker that sent it.
"""

import asyncio

from aiocluster import Primary, current_worker


async def work() -> None:
    """The worker."""
    worker = current_worker()
    async for message in worker.messages():
        await worker.send(message)


async def main() -> None:
    async with Primary(work) as primary:
        worker = await primary.fork()
        await worker.send("hi there")
        event = await worker.wait_for("message")
        print(f"msg: {event.message} from worker#{worker.id}")


if __name__ == "__main__":
    asyncio.run(main())
