"""The process that keeps the state of a cluster, in memory or in a SQLite file. It runs none of the user's code.

It is hidden: no worker, no agent, no peer, without events. It ends when the primary closes its channel, or ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from .._processes.environment import CHANNEL_FD
from .._processes.parent import die_with_parent
from .._processes.signals import FOR_ALL, unblock
from .._processes.title import set_title
from .._processes.user import become
from .._wire import frames
from .._wire.channel import Channel
from .._wire.codec import Decoder
from .._wire.descriptors import Descriptors
from .._wire.frame import Dispatch, on_descriptors
from .memory import MemoryStore
from .server import Server
from .url import parse_sqlite, scheme


def main() -> NoReturn:
    """Becomes the process that keeps the state. Never returns."""
    for number in FOR_ALL:  # it ends when the primary does, and last
        signal.signal(number, signal.SIG_IGN)
    unblock()
    sock = socket.socket(fileno=int(os.environ.pop(CHANNEL_FD)))
    sock.set_inheritable(False)
    config = _read_config(sock)
    channel = Channel(sock)
    die_with_parent(config.primary_pid)
    try:
        factory = _loop_factory(config.loop)
        opener = _in_memory if scheme(config.url) == "memory" else _in_file()
        become(config.uid, config.gid)  # another user may not be able to import what this one can
        die_with_parent(config.primary_pid)  # a change of uid or gid has reset it
        make = opener(config.url)
    except Exception as error:
        channel.send(frames.StateFailed(f"{config.url}: {error}").encode())
        channel.flush_blocking()
        sys.exit(1)
    set_title(config.cluster, "state")
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(channel, make))
    sys.exit(0)


def _loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if loop != "asyncio":
        with contextlib.suppress(ImportError):
            from uvloop import new_event_loop

            return new_event_loop
    return None


_Make = Callable[[], Server]
"""Makes the server, in the loop."""


def _in_memory(url: str) -> _Make:
    # A token is larger than those of an earlier process, also of an earlier cluster: it begins with the time.
    return lambda: Server(MemoryStore(time.time_ns() // 1000))


def _in_file() -> Callable[[str], _Make]:
    """Returns what opens the file."""
    from .sqlite import SqliteStore
    from .sqlite_server import SqliteServer

    def open_file(url: str) -> _Make:
        store = SqliteStore(*parse_sqlite(url))
        return lambda: SqliteServer(store, url)

    return open_file


async def _serve(channel: Channel, make: _Make) -> None:
    loop = asyncio.get_running_loop()
    primary_is_gone = loop.create_future()
    server = make()

    def serve(frame: frames.ServeState, descriptors: Descriptors) -> None:
        for fd in descriptors.take():
            server.serve(socket.socket(fileno=fd))
            channel.send(frames.StateServed(frame.number).encode())

    def closed(error: Exception | None) -> None:
        primary_is_gone.set_result(None)

    channel.attach(loop, Dispatch(frames.PRIMARY, [on_descriptors(frames.ServeState, serve)]), closed)
    channel.send(frames.StateReady().encode())
    await primary_is_gone
    await server.close()


def _read_config(sock: socket.socket) -> frames.StateConfig:
    """Reads the first frame, and nothing after it: later ones have descriptors."""
    head = _read(sock, 4)
    frame, *_ = Decoder().feed(head + _read(sock, int.from_bytes(head, "big")))
    return frames.StateConfig.parse(frame)


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            sys.exit(1)  # the primary has ended
        data += more
    return data
