"""The server object behaves like asyncio's own. Most of these tests run in a worker."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import ssl
import subprocess
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.serving import in_worker, run_in_worker


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends a line back."""
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def say(server: Any, line: bytes = b"hello\n", **options: Any) -> bytes:
    """What a server answers to a line."""
    host, port = server.sockets[0].getsockname()[:2]
    reader, writer = await asyncio.open_connection(host, port, **options)
    writer.write(line)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@in_worker
async def test_it_is_an_asyncio_server() -> None:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        assert isinstance(server, asyncio.AbstractServer)
        assert server.get_loop() is asyncio.get_running_loop()
        assert server.is_serving()
        assert await say(server) == b"hello\n"


@in_worker
async def test_sockets_tell_the_address() -> None:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        (sock,) = server.sockets
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        assert port > 0
        assert sock.fileno() >= 0
    assert server.sockets == ()


@in_worker
async def test_start_serving_false() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0, start_serving=False)
    assert not server.is_serving()
    with pytest.raises(ConnectionRefusedError):
        await say(server)
    await server.start_serving()
    assert server.is_serving()
    assert await say(server) == b"hello\n"
    await server.start_serving()  # like asyncio's: a second one changes nothing
    server.close()
    await server.wait_closed()


@in_worker
async def test_close() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    server.close()
    assert not server.is_serving()
    assert server.sockets == ()
    await server.wait_closed()
    server.close()
    await server.wait_closed()
    with pytest.raises(RuntimeError, match="is closed"):
        await server.start_serving()
    # Another server of this worker may have the port now.
    again = await asyncio.start_server(echo, host, port)
    assert await say(again) == b"hello\n"
    again.close()
    await again.wait_closed()


@in_worker
async def test_close_leaves_connections_alone() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await say(server)  # a later connection was taken, so the first one was
    server.close()
    writer.write(b"still here\n")
    assert await reader.read() == b"still here\n"
    writer.close()
    await writer.wait_closed()
    await server.wait_closed()


@in_worker
async def test_wait_closed_waits_until_the_server_is_closed() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    waiter = asyncio.ensure_future(server.wait_closed())
    done, _ = await asyncio.wait({waiter}, timeout=0.05)
    assert not done
    server.close()
    await waiter


@in_worker
async def test_connections_are_kept_alive_if_asked_for() -> None:
    loop = asyncio.get_running_loop()
    if "keep_alive" not in inspect.signature(loop.create_server).parameters:
        return  # asyncio's from Python 3.13 on
    options: dict[str, Any] = {"keep_alive": True}
    async with await asyncio.start_server(echo, "127.0.0.1", 0, **options) as server:
        assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@in_worker
async def test_wait_closed_waits_for_connections_with_asyncio_from_3_12_on() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await say(server)
    server.close()
    waiter = asyncio.ensure_future(server.wait_closed())
    done, _ = await asyncio.wait({waiter}, timeout=0.05)
    waits = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop) and sys.version_info >= (3, 12)
    assert bool(done) != waits
    writer.write(b"bye\n")
    assert await reader.read() == b"bye\n"
    writer.close()
    await writer.wait_closed()
    await waiter


@in_worker
async def test_serve_forever() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0, start_serving=False)
    forever = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)  # until then it refuses, as asyncio's does
    assert await say(server) == b"hello\n"
    with pytest.raises(RuntimeError, match="already being awaited"):
        await server.serve_forever()
    forever.cancel()
    with pytest.raises(asyncio.CancelledError):
        await forever
    assert not server.is_serving()
    with pytest.raises(RuntimeError, match="is closed"):
        await server.serve_forever()


@in_worker
async def test_close_ends_serve_forever() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    forever = asyncio.ensure_future(server.serve_forever())
    await say(server)
    server.close()
    with pytest.raises(asyncio.CancelledError):
        await forever
    await server.wait_closed()


@in_worker
async def test_the_factory_makes_a_protocol_for_each_connection() -> None:
    made: list[asyncio.Protocol] = []

    class Greeter(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            made.append(self)
            peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
            assert transport.get_extra_info("socket").fileno() >= 0
            transport.write(repr((peer, own)).encode())
            transport.close()

    server = await asyncio.get_running_loop().create_server(Greeter, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for _ in range(3):
        reader, writer = await asyncio.open_connection(*address)
        assert await reader.read() == repr((writer.get_extra_info("sockname"), address)).encode()
        writer.close()
        await writer.wait_closed()
    assert len(set(made)) == 3
    server.close()
    await server.wait_closed()


@in_worker
async def test_a_factory_that_raises_costs_its_connection_only() -> None:
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: reported.append(context))
    failures = iter([True])

    def factory() -> asyncio.Protocol:
        if next(failures, False):
            raise ZeroDivisionError
        reader = asyncio.StreamReader()
        return asyncio.StreamReaderProtocol(reader, echo)

    server = await loop.create_server(factory, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert await say(server) == b"hello\n"
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
    server.close()
    await server.wait_closed()


@in_worker
async def test_many_connections_in_a_row_leave_no_descriptor() -> None:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        await say(server)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            assert await say(server) == b"hello\n"
        while len(os.listdir("/proc/self/fd")) > before:  # the last one is being closed
            await asyncio.sleep(0)


# ---- context variables

variable: ContextVar[str] = ContextVar("variable", default="unset")


class Seeing(asyncio.Protocol):
    """Notes what its methods see of the variable, and changes it for later ones of the same connection only."""

    seen: ClassVar[list[str]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.seen.append(variable.get())

    def data_received(self, data: bytes) -> None:
        self.seen.append(variable.get())
        self.transport.close()


@in_worker
async def test_protocols_see_the_context_in_which_the_server_was_started() -> None:
    loop = asyncio.get_running_loop()
    made: list[str] = []

    def factory() -> Seeing:
        made.append(variable.get())
        return Seeing()

    variable.set("where it was made")
    server = await loop.create_server(factory, "127.0.0.1", 0, start_serving=False)
    variable.set("where it was started")
    await server.start_serving()
    variable.set("later")
    for _ in range(2):
        await say(server)
    assert made == ["where it was started"] * 2
    assert Seeing.seen == ["where it was started"] * 4
    server.close()
    await server.wait_closed()


@in_worker
async def test_a_handlers_context_is_its_connections_own() -> None:
    seen = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(variable.get())
        variable.set("of a connection")
        await echo(reader, writer)

    variable.set("of the server")
    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        for _ in range(3):
            await say(server)
    assert seen == ["of the server"] * 3


# ---- TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *names, "-keyout", path, "-out", path], check=True, capture_output=True)
    return path


async def serve_tls(path: str) -> None:
    """In a worker: TLS, a client that speaks none, and options that need it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    trusting = ssl.create_default_context(cafile=path)
    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context, ssl_handshake_timeout=5) as server:
        assert await say(server, ssl=trusting, server_hostname="localhost") == b"hello\n"
        assert b"hello" not in await say(server, b"hello without TLS\n")
        assert await say(server, ssl=trusting, server_hostname="localhost") == b"hello\n"
    with pytest.raises(ValueError, match="ssl_handshake_timeout is only meaningful with ssl"):
        await asyncio.start_server(echo, "127.0.0.1", 0, ssl_handshake_timeout=5)
    with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
        await asyncio.start_server(echo, "127.0.0.1", 0, ssl=True)


async def never_begin(path: str) -> None:
    """In a worker: a client that begins no handshake."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    _, served = await asyncio.open_connection(
        *server.sockets[0].getsockname(),
        ssl=ssl.create_default_context(cafile=path),
        server_hostname="localhost",
    )  # a later connection was taken, so the first one was
    served.close()
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    serving.cancel()
    done, _ = await asyncio.wait({serving}, timeout=0.5)
    waits = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop) and sys.version_info >= (3, 12)
    assert bool(done) != waits
    writer.close()
    await asyncio.wait({serving})
    await server.wait_closed()


async def test_a_handshake_that_never_begins(worker_loop: str, certificate: Path) -> None:
    await run_in_worker(f"{__name__}:never_begin", loop=worker_loop, args=[str(certificate)])


async def test_tls(worker_loop: str, certificate: Path) -> None:
    await run_in_worker(f"{__name__}:serve_tls", loop=worker_loop, args=[str(certificate)])
