"""Shared ports for anyio: `listen` and `listen_fd` return anyio listeners, which accept streams."""

from __future__ import annotations

import asyncio
import operator
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream, TaskGroup, UNIXSocketStream

from ..._wire.endpoint import DEFAULT_BACKLOG, Endpoint
from ..current import current_session
from .arguments import check_backlog
from .port import Connection, Port
from .resolve import hosts_of, resolve
from .unix import plain_path

_LOST = -1


class ClusterListener(Listener[SocketStream]):
    """An anyio listener whose connections come from shared ports. Closing it leaves its streams open.

    A connection that `accept` has not returned yet is not taken: the primary sends a worker that accepts slowly only a
    window of connections, and they go to other workers when the listener is closed.

    Args:
        ports: The ports that it serves. It owns them.
    """

    def __init__(self, ports: Sequence[Port]) -> None:
        self._ports = tuple(ports)
        self._arrivals: deque[tuple[Port, int]] = deque()  # descriptors; _LOST if this process had none left
        self._accepted: deque[tuple[Connection, bool]] = deque()  # by this worker; whether the primary is to hear of it
        self._waiting = 0
        self._wakeup = asyncio.Event()
        self._is_closed = False
        for port in ports:
            port.serve(self)

    # ---- port.Taker

    @property
    def wants(self) -> int:
        return max(0, self._waiting - len(self._accepted))

    def arrived(self, port: Port, fds: list[int], lost: int) -> None:
        self._arrivals.extend((port, fd) for fd in fds)
        self._arrivals.extend([(port, _LOST)] * lost)
        self._give_back_lost()
        self._wakeup.set()

    def take(self, port: Port, fds: list[int], *, is_awaited: bool) -> None:
        self._accepted.extend((sock, is_awaited) for sock in port.opened(fds))
        self._wakeup.set()

    def _give_back_lost(self) -> None:
        while self._arrivals and self._arrivals[0][1] == _LOST:
            port, _ = self._arrivals.popleft()
            port.settle(0, 1)

    # ---- anyio.abc.Listener

    async def accept(self) -> SocketStream:
        """Accepts the next connection.

        Raises:
            anyio.ClosedResourceError: The listener is closed.
        """
        while True:
            sock = await self._next()
            sock.setblocking(False)
            kind = UNIXSocketStream if sock.family == socket.AF_UNIX else SocketStream
            try:
                return await kind.from_socket(sock)
            except ValueError:  # not connected: this client has disconnected already
                sock.close()
            except BaseException:
                sock.close()
                raise

    async def _next(self) -> Connection:
        while True:
            if self._arrivals:
                port, fd = self._arrivals.popleft()
                port.settle(1, 0)
                self._give_back_lost()
                (sock,) = socks = port.opened([fd])
                port.ready_soon(1, socks)
                return sock
            if self._accepted:
                sock, is_awaited = self._accepted.popleft()
                if is_awaited and sock.port is not None:
                    sock.port.ready_soon(1, [sock])
                return sock
            if self._is_closed:
                raise anyio.ClosedResourceError
            self._wakeup.clear()
            self._waiting += 1
            try:
                for port in self._ports:
                    port.resume()
                await self._wakeup.wait()
            finally:
                self._waiting -= 1

    async def serve(self, handler: Callable[[SocketStream], Any], task_group: TaskGroup | None = None) -> None:
        """Calls ``handler(stream)`` for each connection, each in its own task, until this call is cancelled.

        Args:
            handler: Owns its stream, and must close it.
            task_group: Where the tasks run; None: a task group of this call.
        """
        if task_group is not None:
            await self._serve(handler, task_group)
        async with anyio.create_task_group() as own:
            await self._serve(handler, own)

    async def _serve(self, handler: Callable[[SocketStream], Any], task_group: TaskGroup) -> None:
        while True:
            stream = await self.accept()
            task_group.start_soon(handler, stream)

    async def aclose(self) -> None:
        """Takes no more connections; those that have not been accepted go to other workers. Idempotent."""
        self._is_closed = True
        self._wakeup.set()
        for port, fd in self._arrivals:
            port.settle(0, 1)
            if fd != _LOST:
                os.close(fd)
        self._arrivals.clear()
        while self._accepted:
            self._accepted.popleft()[0].close()
        for port in self._ports:
            port.close()
        for port in self._ports:
            await port.wait_released()
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        first = self._ports[0].sock
        return {
            SocketAttribute.family: lambda: first.family,
            SocketAttribute.local_address: first.getsockname,
            SocketAttribute.local_port: lambda: first.getsockname()[1],
            SocketAttribute.raw_socket: lambda: first,
        }


async def listen(
    host: str | None = None,
    port: int | None = None,
    *,
    path: Any = None,
    mode: int | None = None,
    backlog: int = DEFAULT_BACKLOG,
    scheduling: str | None = None,
) -> ClusterListener:
    """Listens on a shared port, for anyio users. Works in workers only.

    Args:
        host: An address or name; None: all interfaces.
        port: The port; 0: a free one, the same for all workers.
        path: A Unix socket's path, instead of host and port.
        mode: The permissions of a Unix socket's file, such as ``0o660``, if this call opens it. Closing the last
            listener removes the file.
        backlog: How many connections the kernel keeps waiting, if this call opens the port.
        scheduling: The policy of this port, if this call opens it; None: the cluster's.

    Raises:
        OSError: The port can't be opened.
        TypeError: The backlog or the mode is no integer, or the policy is no name.
        ValueError: Both a path and a host or port are given.
        RuntimeError: This process is no worker.
    """
    if path is not None:
        if host is not None or port is not None:
            raise ValueError("path can't be combined with host and port")
        plain = plain_path(asyncio.get_running_loop(), path)
        _check(scheduling)
        ports = current_session().ports
        port_at_path = await ports.open_path(
            plain,
            backlog=check_backlog(backlog),
            scheduling=scheduling,
            mode=None if mode is None else operator.index(mode),
        )
        return ClusterListener([port_at_path])
    endpoints = await resolve(asyncio.get_running_loop(), hosts_of(host), port or 0, 0, socket.AI_PASSIVE)
    return await _listen(endpoints, backlog, scheduling)


async def listen_fd(fd: int, *, scheduling: str | None = None) -> ClusterListener:
    """Listens on a listening socket that the *primary* has open, such as one that systemd passed to it.

    Works in workers only.

    Args:
        fd: The descriptor's number in the primary.
        scheduling: The policy of this port, if this call opens it; None: the cluster's.

    Raises:
        OSError: The primary has no listening socket with that descriptor.
        PermissionError: This worker runs as another user or group, and the primary keeps that socket to itself. It
            shares those that were passed to `Primary.listen_fd`, and those that it was started with.
        RuntimeError: This process is no worker.
    """
    return await _listen([Endpoint(socket.AF_UNSPEC, socket.SOCK_STREAM, fd=fd)], DEFAULT_BACKLOG, scheduling)


async def _listen(endpoints: Sequence[Endpoint], backlog: int, scheduling: str | None) -> ClusterListener:
    _check(scheduling)
    ports = await current_session().ports.open_all(endpoints, backlog=check_backlog(backlog), scheduling=scheduling)
    return ClusterListener(ports)


def _check(scheduling: Any) -> None:
    if not isinstance(scheduling, str | None):
        raise TypeError(f"scheduling: in a worker a policy is a name, not {scheduling!r}")
