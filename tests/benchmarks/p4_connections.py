"""P4: how many new connections a second two workers answer.

``wrk -t1 -c64`` with ``Connection: close``: each request is a connection of its own, so the rate of
requests is the rate of connections. All contenders do as little per connection as they can.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import cast

from aiocluster import WorkerProcess
from aiocluster.events import Listening

from .calls import counting, of_each, told_to_count
from .checkout import Checkout
from .measurement import Calls, Comparison, Contender, Measurement, OwnContender, Sample, at_least
from .own_process import stdin_closed
from .peers import CLIENTS, nginx, node, wrk, wrk_connections
from .primaries import primary_of
from .processor import family
from .programs import serving

WORKERS = 2
OTHERS = (
    "weighted_round_robin",
    "random",
    "least_busy",
    "least_connections",
    "ip_hash",
    "url_hash",
    "fair",
    "reuse_port",
    "reuse_port_ip_hash",
)
"""The policies besides round robin and shared. All clients of one address are one worker's under ``ip_hash``."""
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Answer(asyncio.Protocol):
    """The same few bytes, whatever was asked."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(RESPONSE)
        self.transport.close()


async def worker() -> None:
    """In each worker. Port 0 is the same port for all of them."""
    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0)
    with counting("workers"):
        async with server:
            await server.serve_forever()


async def serve(scheduling: str) -> None:
    """In the primary: say the port when all workers listen, and serve until told to end."""
    async with primary_of(worker, scheduling=scheduling) as primary:
        ports = {await _port(await primary.fork()) for _ in range(WORKERS)}
        print(json.dumps({"port": ports.pop()}), flush=True)
        with counting("primary"):
            await stdin_closed()
        await primary.disconnect()


async def _port(process: WorkerProcess) -> int | None:
    listening: Listening = await process.wait_for("listening")
    return listening.address.port


def _load(server: Callable[[], AbstractContextManager[int]]) -> Callable[[], Sample]:
    """One round: start the server, let wrk warm it up and measure it, end it."""

    def sample() -> Sample:
        with server() as port:
            return wrk(port, family())

    return sample


def counted_connections(command: Sequence[str], clients: int = CLIENTS) -> Mapping[str, Calls]:
    """The calls of a server's processes for one connection."""
    with told_to_count(command) as (counting_command, folder):
        with serving(counting_command) as port:
            connections = wrk_connections(port, clients)
        return of_each(folder, connections)


def _ours(policy: str) -> OwnContender:
    def sample(checkout: Checkout) -> Sample:
        return _load(lambda: serving(checkout.python(serve, policy)))()

    def calls(checkout: Checkout) -> Mapping[str, Calls]:
        return counted_connections(checkout.python(serve, policy))

    return OwnContender(f"aiocluster, {policy}", sample, needs=("wrk",), calls=calls)


MEASUREMENT = Measurement(
    "P4",
    "new connections, two workers",
    "conn/s",
    contenders=(
        _ours("round_robin"),
        *map(_ours, OTHERS),
        Contender("nginx", _load(lambda: nginx(WORKERS, "ok")), needs=("wrk", "nginx")),
        Contender(
            "Node cluster, round robin",
            _load(lambda: serving(node("connections.js", str(WORKERS), "round_robin"))),
            needs=("wrk", "node"),
        ),
        _ours("shared"),
        Contender(
            "Node cluster, shared",
            _load(lambda: serving(node("connections.js", str(WORKERS), "shared"))),
            needs=("wrk", "node"),
        ),
    ),
    comparisons=(
        Comparison("aiocluster, round_robin", "nginx", at_least(0.95)),
        Comparison("aiocluster, round_robin", "Node cluster, round robin", at_least(1.4)),
        Comparison("aiocluster, shared", "nginx"),
        Comparison("aiocluster, shared", "Node cluster, shared"),
        *(Comparison(f"aiocluster, {policy}", "nginx") for policy in OTHERS),
        *(Comparison(f"aiocluster, {policy}", "aiocluster, round_robin") for policy in OTHERS),
    ),
)
