"""What runs in the workers of `test_process`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any

import anyio

from aiocluster import current_worker
from aiocluster._wire import frames


async def idle() -> None:
    await current_worker().send("running")
    await asyncio.get_running_loop().create_future()


async def never_reply() -> None:
    worker = current_worker()

    async def handler(message: Any, sender: int) -> None:
        await worker.send(message)
        await asyncio.get_running_loop().create_future()

    worker.handle_requests(handler)
    await idle()


def end_the_loop() -> None:
    asyncio.run(asyncio.sleep(0))
    os.write(1, b"its loop has ended\n")
    time.sleep(60)


async def chatty(lines: str) -> None:
    for number in range(int(lines)):
        print("out", number)
        print("err", number, file=sys.stderr)
    sys.stdout.flush()


def exit_with(code: str) -> None:
    sys.exit(int(code))


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def leaves_an_heir() -> None:
    """Leaves a process behind that writes valid frames to its channel for ever, as fast as it can."""
    worker = current_worker()
    channel = int(os.environ["AIOCLUSTER_CHANNEL_FD"])
    os.set_inheritable(channel, True)
    report = frames.Report(0.0, 0.0, 1, 1, 0.05).encode()
    program = f"import os, sys\nwhile True:\n    os.write({channel}, {report!r} * 1000)\n"
    async with worker.events("message") as heard:
        heir = subprocess.Popen([sys.executable, "-c", program], close_fds=False)
        await worker.send(heir.pid)
        await anext(heard)
    os._exit(7)


async def misbehave() -> None:
    """Serves, and writes what it is told on its channel, behind the channel's back."""
    worker = current_worker()
    channel = int(os.environ["AIOCLUSTER_CHANNEL_FD"])
    worker.on("message", lambda event: os.write(channel, event.message))
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


async def misbehave_without_a_port() -> None:
    channel = int(os.environ["AIOCLUSTER_CHANNEL_FD"])
    current_worker().on("message", lambda event: os.write(channel, event.message))
    await asyncio.get_running_loop().create_future()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = b"%d" % os.getpid()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()
    await writer.wait_closed()


def sleeping() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


async def serving_idly() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


async def read_all(stream: Any) -> bytes:
    data = b""
    try:
        while True:
            data += await stream.receive()
    except anyio.EndOfStream:
        return data
