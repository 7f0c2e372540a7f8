"""Clients that connect and count."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiocluster import Cluster
from aiocluster.events import Address
from tests.support.serving import REQUEST, Client, all_ready


async def connect_from(source: str, address: Address) -> Client:
    """A client whose own address is this one, such as 127.0.0.9."""
    return Client(*await asyncio.open_connection(address.host, address.port, local_addr=(source, 0)))


async def pids_of(address: Address, count: int, cluster: Cluster | None = None) -> list[int]:
    """Who answers so many connections, made one after the other's answer and open together.

    With a cluster, each also waits until all workers have room for it.
    """
    clients: list[Client] = []
    pids: list[int] = []
    try:
        for _ in range(count):
            clients.append(await Client.connect(address))
            pids.append(await clients[-1].ask())
            if cluster is not None:
                await all_ready(cluster)
        return pids
    finally:
        for client in clients:
            await client.close()


class Crowd:
    """Clients that connect, send at once, wait for the answer, and begin anew; they count how that ends.

    Each asks for another target.

    Attributes:
        size: How many there are at a time.
        ends: How many were ``answered``; ``refused``; ``reset`` before the request had left; and ``lost``: ended after
            that without an answer.
        by: How many each worker has answered.
    """

    def __init__(self, address: Address, size: int = 16) -> None:
        self._address = address
        self.size = size
        self.ends: Counter[str] = Counter()
        self.by: Counter[int] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    @property
    def total(self) -> int:
        return self.ends.total()

    async def __aenter__(self) -> Crowd:
        self._tasks = [asyncio.create_task(self._come_and_go()) for _ in range(self.size)]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Each of them finishes what it has begun."""
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def ended(self, count: int) -> None:
        """Returns when so many more connections have come to their end."""
        goal = self.total + count
        while self.total < goal:
            await asyncio.sleep(0.001)

    async def _come_and_go(self) -> None:
        while not self._is_over:
            self.ends[await self._once()] += 1
            await asyncio.sleep(0)  # a Unix socket refuses at once, without the loop

    async def _once(self) -> str:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX if self._address.path else socket.AF_INET) as sock:
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, self._address.path or (self._address.host, self._address.port))
            except (ConnectionRefusedError, FileNotFoundError):  # a Unix socket's file is removed
                return "refused"
            except ConnectionError:
                return "reset"
            try:
                await loop.sock_sendall(sock, REQUEST.replace(b" / ", b" /%d " % self.total))
            except ConnectionError:
                return "reset"
            response = b""
            while not response.partition(b"\r\n\r\n")[2]:  # some send the head first
                try:
                    more = await loop.sock_recv(sock, 1000)
                except ConnectionError:
                    return "lost"
                if not more:
                    return "lost"
                response += more
            self.by[int(response.rpartition(b"\r\n")[2])] += 1
            return "answered"


class Gate:
    """Where a worker's `inside.Orders.block` waits, until `open`."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(self.path)
        self._sock.listen()
        self._sock.setblocking(False)
        self._visitor: socket.socket | None = None

    async def reached(self) -> None:
        """Returns when the worker has come to it, and blocks."""
        self._visitor, _ = await asyncio.get_running_loop().sock_accept(self._sock)

    def open(self) -> None:
        if self._visitor is not None:
            self._visitor.close()
            self._visitor = None

    def close(self) -> None:
        self.open()
        self._sock.close()


@contextmanager
def gate(folder: Path) -> Iterator[Gate]:
    with contextlib.closing(Gate(folder / "gate")) as one:
        yield one
