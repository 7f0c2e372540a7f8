"""A cluster to look at on the dashboard: a load that goes up and down, a reload, a kill, a worker that is blocked.

The application is that of the page on metrics, with a request that keeps its worker's loop busy without a processor: so
the picture is the same on small machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from aiocluster.events import Address
from tests.docs.prometheus import Prometheus, prometheus
from tests.docs.snippets import ROOT
from tests.support.background import Place, place
from tests.support.http import fetch

EXAMPLE = ROOT / "examples" / "metrics" / "shop.py"
APP = """\
import asyncio
import time

from shop import SOLD, app
from aiocluster import current_worker

reading = []


@app.get("/quote")
async def quote(milliseconds: int) -> None:
    time.sleep(milliseconds / 1000)
    SOLD.labels("poetry").inc()
    if not reading:
        reading.append(asyncio.ensure_future(read()))
    await current_worker().send_random("sold")


async def read() -> None:
    async for _ in current_worker().messages():
        pass
"""
WORKERS = 4
QUOTE = 30  # milliseconds
HARDLY, MUCH, TOO_MUCH = 20.0, 80.0, 160.0  # requests per second, of which four workers answer 133
PORTS = (8000, 9100)


@dataclass(frozen=True)
class Day:
    """What there is to look at.

    Attributes:
        prometheus: It has scraped all of it.
        begin: When it began, in seconds since 1970.
        end: When it ended.
        target: What was scraped.
    """

    prometheus: Prometheus
    begin: float
    end: float
    target: str


@contextlib.asynccontextmanager
async def day(seconds: float, interval: float) -> AsyncIterator[Day]:
    """Lives one, and yields it while Prometheus still answers.

    Args:
        seconds: How long it takes.
        interval: Seconds between two scrapes.
    """
    with place() as here, tempfile.TemporaryDirectory() as folder:
        shutil.copy(EXAMPLE, here.folder)
        (here.folder / "app.py").write_text(APP)
        port, numbers = PORTS
        target = f"127.0.0.1:{numbers}"
        words = ["--workers", str(WORKERS), "--port", str(port), "--metrics", target, "--no-access-log"]
        words += ["--start-method", "template", "--start-timeout", "120"]  # it imports once, also on a busy machine
        await asyncio.to_thread(here.shows, "start", "--name", "shop", "app:app", *words)
        address = Address("tcp4", "127.0.0.1", port)
        with prometheus(Path(folder), target, ("15s", f"{interval:g}s")) as server:
            begin = time.time()
            async with asyncio.timeout(seconds + 60), asyncio.TaskGroup() as group:
                load = [group.create_task(buy(address, group, begin, seconds))]
                load += [group.create_task(stay(address)) for _ in range(24)]
                for at, happens in ((0.15, reload), (0.4, kill), (0.55, block)):
                    await asyncio.sleep(begin + at * seconds - time.time())
                    await happens(here, address)
                await asyncio.sleep(begin + seconds - time.time())
                for task in load:
                    task.cancel()
            yield Day(server, begin, time.time(), target)


async def buy(address: Address, group: asyncio.TaskGroup, begin: float, seconds: float) -> None:
    """Requests that come as they like, each on a connection of its own."""
    chance = random.Random(1)
    path = f"/quote?milliseconds={QUOTE}"
    while True:
        share = (time.time() - begin) / seconds
        rate = HARDLY + (MUCH - HARDLY) * (1 - math.cos(4 * math.pi * share)) / 2
        if 0.78 < share < 0.84:
            rate = TOO_MUCH
        await asyncio.sleep(chance.expovariate(rate))
        group.create_task(ask(address, path))


async def ask(address: Address, path: str) -> None:
    with contextlib.suppress(OSError, TimeoutError):  # the worker was killed
        async with asyncio.timeout(60):
            await fetch(address, path)


async def stay(address: Address) -> None:
    """A client that keeps its connection, and makes another one when it is closed."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            try:
                while True:
                    writer.write(b"GET /docs HTTP/1.1\r\nHost: shop\r\n\r\n")
                    if not await reader.read(65536):
                        break
                    await asyncio.sleep(random.uniform(1, 3))
            finally:
                writer.close()
        await asyncio.sleep(0.1)


async def reload(here: Place, address: Address) -> None:
    await asyncio.to_thread(here.shows, "reload", "shop")


async def kill(here: Place, address: Address) -> None:
    found = await asyncio.to_thread(here.described, "shop")
    os.kill(found["workers"][2]["pid"], signal.SIGKILL)


async def block(here: Place, address: Address) -> None:
    await fetch(address, "/quote?milliseconds=12000")
