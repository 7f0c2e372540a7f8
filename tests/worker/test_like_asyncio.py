"""Listening calls in a worker, beside the same ones elsewhere: what they return, refuse and say is the same.

Each call of the tables is made in this process, by the loop's own method, and in a worker. The outcomes are compared as
text, without what differs from run to run.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import socket
import ssl
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import pytest
import uvloop

from aiocluster import Primary, current_worker

Call = Callable[[Any], Awaitable[Any]]

TAKEN = "the port of somebody else"


def tcp(*args: Any, **options: Any) -> Call:
    return lambda loop: loop.create_server(asyncio.Protocol, *filled(args), **options)


def udp(*args: Any, **options: Any) -> Call:
    return lambda loop: loop.create_datagram_endpoint(asyncio.DatagramProtocol, *filled(args), **options)


def unix(name: Any, **options: Any) -> Call:
    def call(loop: Any) -> Awaitable[Any]:
        path = os.path.join(FOLDER, name) if isinstance(name, str) and name else name
        made: Awaitable[Any] = loop.create_unix_server(asyncio.Protocol, path, **options)
        return made

    return call


def streams(*args: Any, **options: Any) -> Call:
    return lambda _: asyncio.start_server(lambda reader, writer: None, *args, **options)


def filled(args: Iterable[Any]) -> list[Any]:
    """Arguments with the port of somebody else."""

    def put(one: Any) -> Any:
        return PORTS[0] if one is TAKEN else one

    return [tuple(map(put, one)) if isinstance(one, tuple) else put(one) for one in args]


FOLDER = tempfile.gettempdir()
PORTS = [0]
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

PORT_TYPES: list[Any] = ["0", b"0", "", "no-such-service", 0.5, [], "0.5", 65536, -1]
BACKLOGS: list[Any] = [0, 1, -1, True, "100", b"1", 1.5, None, [], 2**70]
TLS: list[dict[str, Any]] = [
    {"ssl": None},
    {"ssl": CONTEXT},
    {"ssl": True},
    {"ssl": False},
    {"ssl_handshake_timeout": 1},
    {"ssl_shutdown_timeout": 1},
    {"ssl": CONTEXT, "ssl_handshake_timeout": 1, "ssl_shutdown_timeout": 1.5},
    {"ssl": None, "ssl_handshake_timeout": None, "ssl_shutdown_timeout": None},
    {"ssl": False, "ssl_handshake_timeout": 1},
]
OTHERS: list[dict[str, Any]] = [
    {"start_serving": False},
    {"start_serving": None},
    {"start_serving": "no"},
    {"backlogg": 5},
    {"loop": None},
    {"limit": 5},
    {"keep_alive": True},
    {"keep_alive": False},
    {"cleanup_socket": False},
    {"reuse_address": True},
    {"reuse_address": False},
    {"reuse_port": False},
    {"reuse_port": None},
]

CALLS: Mapping[str, list[Call]] = {
    "hosts": [
        tcp("127.0.0.1", 0),
        tcp(host="127.0.0.1", port=0),
        tcp("::1", 0),
        tcp("localhost", 0, family=socket.AF_INET),
        tcp(b"127.0.0.1", 0),
        tcp(["127.0.0.1", "127.0.0.2"], 0),
        tcp(("127.0.0.1", "::1", "127.0.0.1"), 0),
        tcp({"127.0.0.1": 1}, 0),
        tcp([], 0),
        tcp((), 0),
        tcp([None], 0),
        tcp([5], 0),
        tcp(5, 0),
        tcp(object, 0),
        tcp("", 0),
        tcp(None, 0),
        tcp("127.0.0.1"),
        tcp("127.0.0.1", None),
        tcp(port=0),
        tcp(),
        tcp(None, None),
        tcp("", None),
        tcp("no.such.name.invalid", 0),
        tcp(["127.0.0.1", "no.such.name.invalid"], 0),
        tcp("127.0.0.1", TAKEN),
        tcp(["127.0.0.2", "127.0.0.1"], TAKEN),
        tcp("192.0.2.1", 0),
        tcp("2001:db8::1", 0),
        tcp(["127.0.0.1", "192.0.2.1"], 0),
        tcp(["192.0.2.1", "192.0.2.2"], 0),
        tcp("127.0.0.1", 0, "more"),
    ],
    "ports": [tcp("127.0.0.1", port) for port in PORT_TYPES],
    "families": [
        tcp("127.0.0.1", 0, family=socket.AF_INET),
        tcp("127.0.0.1", 0, family=socket.AF_INET6),
        tcp("::1", 0, family=socket.AF_INET),
        tcp("127.0.0.1", 0, family="tcp"),
        tcp(None, 0, family=socket.AF_INET),
        tcp("127.0.0.1", 0, flags=0),
        tcp("localhost", 0, flags=socket.AI_NUMERICHOST),
        tcp("127.0.0.1", 0, flags="none"),
    ],
    "backlogs": [tcp("127.0.0.1", 0, backlog=backlog) for backlog in BACKLOGS],
    "unix backlogs": [unix("backlog", backlog=backlog) for backlog in BACKLOGS],
    "tls": [tcp("127.0.0.1", 0, **options) for options in TLS],
    "unix tls": [unix("tls", **options) for options in TLS],
    "options": [tcp("127.0.0.1", 0, **options) for options in OTHERS],
    "unix options": [unix("options", **options) for options in OTHERS],
    "streams": [streams("127.0.0.1", 0, **options) for options in [*OTHERS, *TLS]],
    "unix paths": [unix("plain"), unix(None), unix(5), unix(["a"])],
    "udp": [
        udp(("127.0.0.1", 0)),
        udp(local_addr=("127.0.0.1", 0)),
        udp(("::1", 0)),
        udp(["127.0.0.1", 0]),
        udp(("127.0.0.1",)),
        udp(("127.0.0.1", 0, 0)),
        udp(()),
        udp(None),
        udp("127.0.0.1:0"),
        udp(5),
        udp((5, 0)),
        udp(("127.0.0.1", "0")),
        udp(("127.0.0.1", "no-such-service")),
        udp(("127.0.0.1", 0.5)),
        udp(("127.0.0.1", 65536)),
        udp(("no.such.name.invalid", 0)),
        udp(("127.0.0.1", TAKEN)),
        udp(("192.0.2.1", 0)),
        udp(("127.0.0.1", 0), ("127.0.0.1", 9)),
        udp(("127.0.0.1", 0), family=socket.AF_INET),
        udp(("127.0.0.1", 0), family=socket.AF_INET6),
        udp(("127.0.0.1", 0), family=socket.AF_UNIX),
        udp(("127.0.0.1", 0), proto=socket.IPPROTO_UDP),
        udp(("127.0.0.1", 0), proto=socket.IPPROTO_TCP),
        udp(("127.0.0.1", 0), flags=socket.AI_PASSIVE),
        udp(("127.0.0.1", 0), reuse_port=False),
        udp(("127.0.0.1", 0), reuse_address=True),
        udp(("127.0.0.1", 0), reuse_address=False),
        udp(("127.0.0.1", 0), reuse_adress=True),
        udp(("127.0.0.1", 0), None, 5),
        udp(("127.0.0.1", 0), allow_broadcast=True),
    ],
}


async def outcomes(table: str, port: int, folder: str) -> list[str]:
    """What becomes of each call of a table: what it returns, or raises."""
    global FOLDER
    FOLDER, PORTS[0] = folder, port
    loop = asyncio.get_running_loop()
    got = []
    for call in CALLS[table]:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio leaves a socket to the garbage collector
            try:
                text = await seen(await call(loop))
            except Exception as error:
                text = f"{type(error).__name__} {getattr(error, 'errno', None)}: {error}"
        text += "".join(f"; {one.category.__name__}: {one.message}" for one in warned)
        text = text.replace("C long", "C int")
        text = re.sub(r"[\w.<>]+\.(create_\w+\(\))", r"\1", text)  # names that tell where a method was defined
        got.append(text.replace(str(port), "PORT").replace(folder, "FOLDER"))
    return got


async def seen(made: Any) -> str:
    """What one sees of a server, or of a datagram endpoint, open and closed."""
    if isinstance(made, tuple):
        transport, protocol = made
        sock, name = transport.get_extra_info("socket"), transport.get_extra_info("sockname")
        broadcast = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        text = f"{type(protocol).__name__} at {name[0]}, {sock.family!r}, broadcast {broadcast}"
        transport.close()
        while not transport.is_closing() or sock.fileno() != -1:
            await asyncio.sleep(0)
        return text
    assert isinstance(made, asyncio.AbstractServer) or "uvloop" in type(made).__module__
    names = [sock.getsockname() for sock in made.sockets]
    addresses = sorted(name if isinstance(name, str) else name[0] for name in names)
    open_ports = len({name if isinstance(name, str) else name[1] for name in names})
    kept = {bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) for sock in made.sockets}
    text = f"{addresses}, {open_ports} ports, serving {made.is_serving()}, keep alive {kept}"
    assert made.get_loop() is asyncio.get_running_loop()
    made.close()
    text += f"; closed: {len(made.sockets)} sockets, serving {made.is_serving()}"
    await made.wait_closed()
    try:
        await made.serve_forever()
    except RuntimeError as error:
        text += f", {re.sub('<.*>', '<server>', str(error))}"
    for path in addresses:
        if path.startswith("/") and os.path.exists(path):
            os.unlink(path)
    return text


async def tell_outcomes(port: str, folder: str) -> None:
    """In a worker."""
    await current_worker().send({table: await outcomes(table, int(port), folder) for table in CALLS})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets that asyncio leaves behind
async def test_a_worker_does_what_any_process_does(worker_loop: str) -> None:
    factory = uvloop.new_event_loop if worker_loop == "uvloop" else asyncio.new_event_loop
    with tempfile.TemporaryDirectory() as folder, socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))

        def plainly() -> dict[str, list[str]]:
            with asyncio.Runner(loop_factory=factory) as runner:
                return {table: runner.run(outcomes(table, port, folder)) for table in CALLS}

        plain = await asyncio.to_thread(plainly)
        target = f"{__name__}:{tell_outcomes.__name__}"
        settings: dict[str, Any] = {"loop": worker_loop, "args": [str(port), folder]}
        async with Primary(target, **settings) as primary, primary.events("message") as heard:
            await primary.fork()
            assert (await anext(heard)).message == plain


def test_the_signatures_are_the_loops_own() -> None:
    for name in "create_server", "create_unix_server", "create_datagram_endpoint":
        assert "kwargs" not in inspect.signature(getattr(asyncio.SelectorEventLoop, name)).parameters
