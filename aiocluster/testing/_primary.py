"""The program that runs a cluster for a test: ``python -m aiocluster.testing._primary FD``.

At its descriptor it is told what to run, and later what to do, a JSON object in each line; what it answers has the same
number. If the other end closes, because the test's process has ended, it stops at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from dataclasses import asdict
from typing import Any

from .._bind import BindAddress
from .._supervise.cluster import Cluster
from ..errors import ClusterError
from ..events import Listening, Online
from ._settings import from_json

_LISTENS_WITHIN = 1.0  # seconds after the workers are online
_LINE = 1024 * 1024  # bytes of a line


class _Link:
    """What is written to the test."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def tell(self, **fields: Any) -> None:
        self._writer.write(json.dumps(fields).encode() + b"\n")


async def _main(fd: int) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=fd), limit=_LINE)
    link = _Link(writer)
    try:
        order = json.loads(await reader.readline())
        sys.path[:] = order["path"]
        try:
            await _run(order, reader, link)
        except (ClusterError, TypeError, ValueError) as error:
            link.tell(event="over", kind=type(error).__name__, text=str(error))
        else:
            link.tell(event="over", kind=None, text="the cluster has stopped")
    finally:
        writer.close()
        await writer.wait_closed()


async def _run(order: dict[str, Any], reader: asyncio.StreamReader, link: _Link) -> None:
    cluster = Cluster(from_json(order["target"]), **from_json(order["settings"]))
    cluster._primary._app_address = BindAddress("127.0.0.1", 0)
    obeying = asyncio.create_task(_obey(cluster, reader, link))
    serving = asyncio.create_task(_serve(cluster, link, order["scheme"]))
    try:
        await asyncio.wait({serving, obeying}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            if cluster.primary.workers:
                await cluster.stop(graceful=obeying.result())
            else:
                serving.cancel()  # it has not come that far
        await serving
    finally:
        obeying.cancel()


async def _serve(cluster: Cluster, link: _Link, scheme: str) -> None:
    first = _First(cluster)
    async with cluster:
        await first.wait()
        link.tell(event="up", addresses=first.addresses, scheme=scheme)
        await cluster.serve_forever()


class _First:
    """The first workers, until they listen."""

    def __init__(self, cluster: Cluster) -> None:
        self.addresses: list[dict[str, Any]] = []
        self._online: set[int] = set()
        self._listening: set[int] = set()
        self._heard = asyncio.Event()
        cluster.on("online", self._on_online)
        cluster.on("listening", self._on_listening)

    def _on_online(self, event: Online) -> None:
        self._online.add(event.worker.id)

    def _on_listening(self, event: Listening) -> None:
        address = asdict(event.address)
        if address not in self.addresses:
            self.addresses.append(address)
        self._listening.add(event.worker.id)
        self._heard.set()

    async def wait(self) -> None:
        """Returns when all of them listen, or it seems that they never will."""
        try:
            async with asyncio.timeout(_LISTENS_WITHIN) as limit:
                while not self._online <= self._listening:
                    await self._heard.wait()
                    self._heard.clear()
                    limit.reschedule(asyncio.get_running_loop().time() + _LISTENS_WITHIN)
        except TimeoutError:
            pass


async def _obey(cluster: Cluster, reader: asyncio.StreamReader, link: _Link) -> bool:
    """Does what it is told, until it is told to stop. Returns whether gracefully."""
    async with asyncio.TaskGroup() as tasks:
        while line := await reader.readline():
            order = json.loads(line)
            match order["do"]:
                case "reload":
                    tasks.create_task(_reload(cluster, order["number"], link))
                case "workers":
                    link.tell(number=order["number"], workers=[asdict(worker) for worker in cluster.stats().workers])
                case "stop":
                    return bool(order["graceful"])
    return False


async def _reload(cluster: Cluster, number: int, link: _Link) -> None:
    try:
        await cluster.reload()
    except ClusterError as error:
        link.tell(number=number, kind=type(error).__name__, error=str(error))
    else:
        link.tell(number=number)


if __name__ == "__main__":
    os.set_inheritable(int(sys.argv[1]), False)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_main(int(sys.argv[1])))
