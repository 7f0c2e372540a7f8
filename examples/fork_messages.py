"""Messages between a script and its child.

``child_process.fork`` starts a Python script that can exchange messages with its parent. Here it is the same script,
which asks ``parent()`` whether it has one. In Node these are ``fork("./child.js")``, ``child.send`` and
``process.send``.

    $ python fork_messages.py
    the child has received {'hello': 'world'}
    the parent has received {'foo': 'bar'}
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
