"""A script and its parent send messages to each other.

Seeds 001 and 003: ``fork('./child.js')``, ``child.send`` and ``process.send``, and ``on('message')`` on both sides.
Parent and child are the same script here. It checks whether it has a parent.
"""

import asyncio

from aiocluster import child_process
from aiocluster.events import Message


async def child(parent: child_process.Parent) -> None:
    async for message in parent.messages():
        print("the child has received", message, flush=True)
        await parent.send({"foo": "bar"})


async def main() -> None:
    async with await child_process.fork(__file__) as process:
        heard = asyncio.Event()

        @process.on("message")
        def hear(event: Message) -> None:
            print("the parent has received", event.message)
            heard.set()

        await process.send({"hello": "world"})
        await heard.wait()


if __name__ == "__main__":
    parent = child_process.parent()
    asyncio.run(main() if parent is None else child(parent))
