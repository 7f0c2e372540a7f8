"""What the children of these tests run: ``python inside.py NAME ARGUMENT…`` runs the function of that name."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import uvloop

from aiocluster import child_process
from aiocluster.child_process import Parent
from aiocluster.errors import ChannelClosedError


def the_parent() -> Parent:
    found = child_process.parent()
    assert found is not None
    return found


async def echo() -> None:
    """Sends back what comes, with its handles, until "end"."""
    messages = the_parent().messages()
    async for message in messages:
        await the_parent().send({"echo": message}, handles=messages.handles)
        if message == "end":
            return


async def listen() -> None:
    """Says on its stdout what came before the channel was closed."""
    print([message async for message in the_parent().messages()])


async def about_itself(*args: str) -> None:
    parent = the_parent()
    await parent.send(
        {
            "argv": args,
            "flags": sys.flags.dev_mode,
            "pid": os.getpid(),
            "parent": [parent.pid, os.getppid()],
            "same": child_process.parent() is parent,
            "environment": sorted(name for name in os.environ if name.startswith("AIOCLUSTER_")),
        }
    )


async def last_words(count: str) -> None:
    """Says a lot, and ends at once."""
    for number in range(int(count)):
        await the_parent().send([number, "x" * 1000])


async def answer() -> None:
    """Answers requests, and makes one of its own for each."""
    parent = the_parent()

    async def answer(message: Any, sender: int) -> Any:
        if message == "raise":
            raise KeyError("no such thing")
        if message == "wait":
            await asyncio.sleep(3600)
        return {"asked": message, "by": sender, "reply": await parent.request("and you?")}

    parent.handle_requests(answer)
    await parent.wait_for("disconnect")


async def raise_what_it_is_told() -> None:
    """Its handlers of messages and of requests raise what these name."""
    from tests.support.raising import raise_one, raise_one_later

    parent = the_parent()

    def answer(message: Any, sender: int) -> Any:
        when, what = message
        return raise_one(what) if when == "now" else raise_one_later(what)

    parent.on("message", lambda event: raise_one(event.message))
    parent.handle_requests(answer)
    await parent.wait_for("disconnect")


async def receive_slowly() -> None:
    """An async handler of messages that ends when a request says so; the reply is what it has handled."""
    parent = the_parent()
    gate = asyncio.Event()
    handled: list[Any] = []

    async def handle(event: Any) -> None:
        await gate.wait()
        handled.append(event.message)

    async def answer(message: Any, sender: int) -> int:
        gate.set()
        while len(handled) < message:
            await asyncio.sleep(0.002)
        return len(handled)

    parent.on("message", handle)
    parent.handle_requests(answer)
    await parent.wait_for("disconnect")
    gate.set()
    await parent._hub.drain()
    print(handled)


async def flood(count: str) -> None:
    """Sends so many, one after the other, and asks when that is done."""
    for number in range(int(count)):
        await the_parent().send([number, "x" * 1000])
    await the_parent().request("all of them")


async def serve() -> None:
    """Serves on the listening sockets that come, and takes connections that come."""
    parent = the_parent()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"hello from {os.getpid()}\n".encode())
        writer.close()

    async def on_message(event: Any) -> None:
        [handle] = event.handles
        if event.message == "listening":
            await asyncio.start_server(greet, sock=handle)
            await parent.send("serving")
        else:
            await greet(*await asyncio.open_connection(sock=handle))

    parent.on("message", on_message)
    await parent.wait_for("disconnect")


async def leave() -> None:
    """Disconnects, hears that it is disconnected, and says so on its stdout."""
    parent = the_parent()
    await parent.send("before")
    parent.disconnect()
    assert not parent.connected
    try:
        await parent.send("after")
    except ChannelClosedError:
        print("closed", flush=True)
    await parent.wait_for("disconnect")
    print("disconnected", flush=True)


async def outlive(*args: str) -> None:
    """Says on its stdout that its parent has gone."""
    parent = the_parent()
    await parent.send("ready")
    await parent.wait_for("disconnect")
    print("alone", flush=True)


def chatter(count: str) -> None:
    """Writes so many bytes to its stdout."""
    print(end="x" * int(count))


def twice() -> None:
    """Two event loops, one after the other."""

    async def first() -> None:
        await the_parent().send("one")
        the_parent().on("message", print)  # never called: nothing comes in this loop's time

    async def second() -> None:
        messages = the_parent().messages()
        await the_parent().send("two")
        await the_parent().send({"echo": await anext(messages)})

    asyncio.run(first())
    asyncio.run(second())


def without_a_loop() -> None:
    """It is never read, and says nothing."""
    parent = the_parent()
    parent.handle_requests(lambda message, sender: message)
    parent.on("message", print)
    assert parent.connected


def fork_itself() -> None:
    """A process that this one makes by os.fork has no parent, and does not disturb."""
    parent = the_parent()
    ours, theirs = os.pipe()
    if not (pid := os.fork()):
        os.write(theirs, repr((child_process.parent(), parent.connected)).encode())
        sys.exit()  # its exit handlers run
    os.waitpid(pid, 0)
    said = os.read(ours, 100).decode()

    async def main() -> None:
        await parent.send(said)

    asyncio.run(main())


def start_another() -> None:
    """A grandchild, started before and after this process has asked for its parent, has none."""
    line = "from aiocluster.child_process import parent; print(parent())"
    before = {**os.environ}
    the_parent()
    said = [
        subprocess.run([sys.executable, "-c", line], env=env, capture_output=True, text=True, check=True).stdout
        for env in (None, before)
    ]

    async def main() -> None:
        await the_parent().send(
            [*said, (await child_process.exec_file(sys.executable, ["-c", line], env=before)).stdout]
        )

    asyncio.run(main())


def babble(hex: str) -> None:
    """Writes these bytes to the channel, and stays; says what is answered if it is asked to."""
    number, _, _ = os.environ["AIOCLUSTER_PARENT_FD"].partition(":")
    os.write(int(number), bytes.fromhex(hex))
    if sys.stdin.read():
        print(os.read(int(number), 10_000))


async def start_detached(minute: str) -> None:
    """Starts a detached child, says its pid, and ends."""
    child = await child_process.spawn("sleep", [minute], stdio="ignore", detached=True)
    print(child.pid, os.getpgid(child.pid), os.getsid(child.pid), flush=True)
    await child.aclose()


async def start_outliving(minute: str) -> None:
    """Starts a child that waits for this process's end, on the same stdout; says its pid."""
    child = await child_process.fork(__file__, ["outlive", minute])
    async for _ in child.messages():
        await the_parent().send(child.pid)


async def start_and_end(minute: str) -> None:
    """Starts a child and ends without a word of closing it."""
    child = await child_process.spawn("sleep", [minute], stdio="ignore")
    print(child.pid, flush=True)


async def busy() -> None:
    """Takes one message, and no others before it is told to."""
    messages = the_parent().messages()
    await anext(messages)
    sys.stdin.readline()
    await the_parent().send(sum([1 async for _ in messages]))


def main(name: str, *args: str) -> None:
    function: Callable[..., Any] = globals()[name]
    if inspect.iscoroutinefunction(function):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if "OF_UVLOOP" in os.environ else None) as runner:
            runner.run(function(*args))
    else:
        function(*args)


if __name__ == "__main__":
    main(*sys.argv[1:])
