"""A message to a worker, and one back.

The primary sends a message to a worker, and the worker sends it back. The worker iterates over its messages; the
primary gets them as events, each with the worker that has sent it. In Node these are ``worker.send`` and
``process.send``.

    $ python echo.py
    msg: hi there from worker#1
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
