"""What the cluster runs that the dashboard is tested with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import Metric

SOLD = Counter("shop_sold", "Books sold.", ["shelf"])


async def sell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request, and has counted it before that."""
    await reader.readuntil(b"\r\n\r\n")
    SOLD.labels("poetry").inc()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


async def serve() -> None:
    """A worker."""
    async with await asyncio.start_server(sell, "127.0.0.1", 0) as server:
        await server.serve_forever()


class Broken:
    """A collector that can't say what it has counted."""

    def collect(self) -> Iterator[Metric]:
        raise OSError("the database does not answer")

    def describe(self) -> list[Metric]:
        return []


async def lack() -> None:
    """An agent."""
    REGISTRY.register(Broken())
    await asyncio.Event().wait()
