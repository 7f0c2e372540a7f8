"""What runs in the workers of these tests: a server that tells its pid, and does what messages say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from typing import Any

from aiocluster import current_worker, listen, listen_fd

HOST = "127.0.0.1"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Keep-alive HTTP; whatever is asked, the answer is this process's pid. What is no HTTP gets it line by line."""
    with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        body = b"%d" % os.getpid()
        while True:
            line = await reader.readuntil(b"\n")
            if line == b"\r\n":  # before the request line (RFC 9112, 2.2)
                continue
            if b"HTTP/1." not in line:
                writer.write(body + b"\n")
                continue
            while await reader.readuntil(b"\n") != b"\r\n":
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def serve(*hosts: str) -> None:
    """Serves a port, the same for all workers."""
    server = await asyncio.start_server(answer, hosts or HOST, 0)
    Orders(server).obey()
    await server.serve_forever()


async def tell_why_it_cannot_listen() -> None:
    """Asks for a port, and sends the error's number and text."""
    try:
        await asyncio.start_server(answer, HOST, 0)
    except OSError as error:
        text = str(error).rpartition("): ")[2]
        await current_worker().send(f"[errno {error.errno}] {text}")
    await asyncio.Event().wait()


async def serve_with_backlogs(path: str) -> None:
    """Asks for a port with the backlog, and the policy, that a file says; each worker takes a line of it."""
    lines = path.split(",")
    backlog, _, scheduling = lines[(current_worker().id - 1) % len(lines)].partition(" ")
    listener = await listen(HOST, 0, backlog=int(backlog), scheduling=scheduling or None)
    await listener.serve(_answer_stream)


async def serve_two_ports(first: str, second: str) -> None:
    """Two ports, each with a policy of its own."""
    listeners = [await listen(HOST, 0, scheduling=scheduling) for scheduling in (first, second)]
    async with asyncio.TaskGroup() as tasks:
        for listener in listeners:
            tasks.create_task(listener.serve(_answer_stream))


async def serve_unless_first() -> None:
    """Serves a port; the first worker listens, too, but accepts nothing, until a message has it close its listener."""
    listener = await listen(HOST, 0)
    if current_worker().id == 1:
        async for _ in current_worker().messages():
            await listener.aclose()
    await listener.serve(_answer_stream)


async def serve_descriptor(fd: str) -> None:
    """Serves a descriptor of the primary."""
    listener = await listen_fd(int(fd))
    await listener.serve(_answer_stream)


async def serve_address(host: str, port: str) -> None:
    """Serves an address that the primary has opened."""
    server = await asyncio.start_server(answer, host, int(port))
    await server.serve_forever()


async def serve_stream() -> None:
    """Serves a port by anyio."""
    listener = await listen(HOST, 0)
    await listener.serve(_answer_stream)


async def serve_when_told() -> None:
    """Answers each request once it is told to; tells of requests, and that it is to leave."""
    worker = current_worker()
    told = asyncio.Event()
    worker.on("message", lambda event: told.set())
    worker.on("shutdown", lambda event: worker.send("leaving"))

    async def wait_and_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await worker.send("asked")
        await told.wait()
        body = b"%d" % os.getpid()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(wait_and_answer, HOST, 0)
    await server.serve_forever()


async def serve_and_tell_of_shutdown() -> None:
    """Serves a port, and tells the seconds that it has when it is to leave."""
    worker = current_worker()
    worker.on("shutdown", lambda event: worker.send(event.deadline))
    await serve()


async def serve_path(path: str, mode: str = "") -> None:
    """Serves a Unix socket."""
    listener = await listen(path=path, mode=int(mode, 8) if mode else None)
    await listener.serve(_answer_stream)


async def _answer_stream(stream: Any) -> None:
    import anyio

    async with stream:
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await stream.receive()
                body = b"%d" % os.getpid()
                await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class Orders:
    """What a test may have its worker do, by a request: ``[name, *arguments]``."""

    def __init__(self, server: asyncio.AbstractServer) -> None:
        self._server = server
        self._held: list[int] = []
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def obey(self) -> None:
        worker = current_worker()
        worker.handle_requests(lambda order, _: getattr(self, order[0])(*order[1:]))
        worker.on("message", lambda event: getattr(self, event.message[0])(*event.message[1:]))

    def descriptors(self) -> int:
        """How many are open."""
        return len(os.listdir("/proc/self/fd")) - 1

    def use_up_descriptors(self, but: int) -> None:
        """Leaves so many free."""
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, self._limits[1]))
        with contextlib.suppress(OSError):
            while True:
                self._held.append(os.dup(0))
        for _ in range(but):
            os.close(self._held.pop())

    def free_descriptors(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)
        while self._held:
            os.close(self._held.pop())

    def block(self, path: str) -> None:
        """Blocks the loop until somebody connects to this Unix socket and goes."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.recv(1)

    def block_and_leave(self, path: str) -> None:
        self.block(path)
        self._leaving = asyncio.ensure_future(current_worker().disconnect())
