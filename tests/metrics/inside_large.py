"""Workers of `test_large` whose registry is large; imported by a fork server, it counts before it forks them."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter, Histogram

import aiocluster

SERIES = 300
PATH = "/long" * 150  # with this label, more than a frame from a worker may have

MANY = Counter("shop_many", "Many.", ["path"])
for number in range(SERIES):
    MANY.labels(f"{PATH}/{number}")
FIRST = MANY.labels(f"{PATH}/0")

LOADS = Counter("shop_loads", "Counted while the application is imported.")
LOADS.inc()
TOOK = Histogram("shop_load_seconds", "Likewise.", buckets=(1.0, 5.0))
TOOK.observe(2.0)


async def serve() -> None:
    """Asks for many pages at a time for each connection, and answers in how many lines the smallest has the counter."""
    LOADS.inc()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        FIRST.inc()
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(aiocluster.metrics.render(f"text/plain, x/{kind % 2}")) for kind in range(40)]
        body = b"%d" % min(page.result().count(b"shop_many_total") for page in asked)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()
