"""``/live`` and ``/ready``: what a load balancer sees of a cluster, from its start to its end."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from pathlib import Path

import pytest

from aiocluster import Cluster, RestartLimitError, RestartPolicy, StartupError
from aiocluster._bind import parse_bind
from aiocluster._supervise import http_server
from aiocluster._supervise.http_answer import MAX_HEAD
from aiocluster._supervise.http_server import HttpServer
from aiocluster.events import Fork
from tests.support.http import fetch
from tests.support.serving import ask

from .inside_cluster import serve
from .inside_status import fail_when_told, first_two_listen_when_told, wait


async def test_a_life() -> None:
    cluster = Cluster(first_two_listen_when_told, workers=2, health="127.0.0.1:0", drain_delay=60.0)
    before: list[tuple[int, str]] = []

    @cluster.on("fork")
    async def forked(event: Fork) -> None:
        before.append(await fetch(cluster.health_address, "/ready"))

    async with cluster.events("listening", "exit") as heard:
        async with cluster:
            health = cluster.health_address
            assert before
            assert {status for status, _ in before} == {503}
            assert await fetch(health, "/live") == (200, "alive\n")
            assert await fetch(health, "/ready") == (503, "starting: 0 of 2 workers serve\n")
            for worker in cluster.workers.values():
                assert (await fetch(health, "/ready"))[0] == 503
                await worker.send("listen")
                event = await anext(heard)
                assert event.name == "listening"
            assert await fetch(health, "/ready") == (200, "ready: 2 workers serve\n")

            reload = asyncio.create_task(cluster.reload())
            while not reload.done():
                assert (await fetch(health, "/ready"))[0] == 200
            await reload
            next(iter(cluster.workers.values())).kill(9)
            while (event := await anext(heard)).name != "exit" or event.reason != "killed":
                pass
            assert (await fetch(health, "/ready"))[0] == 200

            address = cluster.stats().ports[0].address
            stop = asyncio.create_task(cluster.stop())
            await asyncio.sleep(0)
            assert await fetch(health, "/ready") == (503, "stopping\n")
            assert await fetch(health, "/live") == (200, "alive\n")
            assert await ask(address) in {worker.pid for worker in cluster.workers.values()}
            await cluster.stop(graceful=False)
            await stop
            assert (await fetch(health, "/ready"))[0] == 503
            assert (await fetch(health, "/live"))[0] == 200
    with pytest.raises(OSError):
        await fetch(health, "/live")


async def test_not_ready_once_it_has_given_up() -> None:
    cluster = Cluster(fail_when_told, workers=2, health="127.0.0.1:0", restart=RestartPolicy(limit=0))
    async with cluster.events("listening") as heard:
        async with cluster:
            for _ in range(2):
                await anext(heard)
            assert (await fetch(cluster.health_address, "/ready"))[0] == 200
            await next(iter(cluster.workers.values())).send("fail")
            with pytest.raises(RestartLimitError):
                await cluster.serve_forever()
            status, text = await fetch(cluster.health_address, "/ready")
            assert (status, text.partition(":")[0]) == (503, "given up")


async def test_without_a_port_it_is_ready_after_the_start_timeout(tmp_path: Path) -> None:
    path = tmp_path / "health.sock"
    async with Cluster(wait, workers=1, health=f"unix:{path}", start_timeout=3.0) as cluster:
        while (answer := await fetch(cluster.health_address, "/ready"))[0] == 503:
            assert answer[1].startswith("starting")
            await asyncio.sleep(0.02)
        assert answer == (200, "ready: 1 worker serves\n")
    assert not path.exists()


async def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartupError) as caught:
            async with Cluster(serve, workers=1, health=where):
                raise AssertionError("entered")
    text = str(caught.value)
    assert text == f"health: {where} is in use; stop what listens there, or choose another address"


async def test_bad_clients_cost_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The silent, the slow, the many and the rude; close() ends those that are left."""
    monkeypatch.setattr(http_server, "_TIMEOUT", 2.0)  # time to open the many
    server = HttpServer("health", parse_bind("health", ":0", 0), {"/live": lambda: (HTTPStatus.OK, "")})
    await server.open()
    try:
        address = server.address
        assert address is not None
        silent = [await asyncio.open_connection(address.host, address.port) for _ in range(http_server._MOST)]
        with pytest.raises(OSError):  # one too many
            await fetch(address, "/live")
        assert [await reader.read() for reader, _ in silent] == [b""] * len(silent)
        for _, writer in silent:
            writer.close()
        assert (await fetch(address, "/live", "HEAD"))[0] == 200

        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"x" * MAX_HEAD)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        writer.close()

        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET /live")
        await fetch(address, "/live")  # now the other one is a connection, too
    finally:
        await server.close()
    try:
        assert await reader.read() == b""
    except ConnectionResetError:
        pass
    writer.close()
