"""A message to a worker, and back.

Seed 003: "hi there", which the worker sends back as it is. A worker has its messages as a stream; the primary hears
them as events, and each knows which worker it came from.
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
