"""A child with streams and a message channel.

With ``"ipc"`` as the fourth of its ``stdio``, a child has a channel for messages beside its three streams. Without it,
``send`` raises an error. In Node this is ``spawn("node", ["child.js"], {stdio: [0, 1, 2, "ipc"]})``.

    $ python spawn_ipc.py
    child
    hi child pid: 4712
    hello parent pid: 4711
    without ipc: the child with pid 4713 has no channel: start it with fork(), or with "ipc" in stdio
"""

import asyncio
import os
import sys

from aiocluster import ChannelClosedError, child_process


async def child() -> None:
    print("child", flush=True)
    parent = child_process.parent()
    assert parent is not None
    async for message in parent.messages():
        print(message, "child pid:", os.getpid(), flush=True)
        await parent.send("hello")


async def main() -> None:
    command = [sys.executable, __file__, "child"]
    async with await child_process.spawn(command[0], command[1:], stdio=(0, 1, 2, "ipc")) as process:
        await process.send("hi")
        event = await process.wait_for("message")
        print(event.message, "parent pid:", os.getpid())

    async with await child_process.spawn("sleep", ["60"]) as process:
        try:
            await process.send("hi")
        except ChannelClosedError as error:
            print("without ipc:", error)


if __name__ == "__main__":
    asyncio.run(child() if "child" in sys.argv else main())
