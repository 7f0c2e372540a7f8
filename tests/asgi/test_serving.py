"""ASGI apps are served at shared ports, and leave in order."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import websockets

from aiocluster import Cluster
from aiocluster.events import Address
from aiocluster.integrations.asgi import AsgiApp
from tests.support.events import several
from tests.support.serving import ask, run_in_worker

APP = "tests.asgi.inside_apps:app"


async def get(address: Address, target: str) -> str:
    """The body that it answers with."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    body = await reader.read()
    writer.close()
    await writer.wait_closed()
    return body.decode()


@pytest.mark.parametrize(("method", "loop"), [("spawn", "asyncio"), ("template", "uvloop")])
async def test_an_app_is_served_at_all_addresses(
    method: Any, loop: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ended_in = tmp_path / "ended"
    paths = [tmp_path / "bind.sock", tmp_path / "uds.sock"]
    with socket.create_server(("127.0.0.1", 0)) as passed:
        app = AsgiApp(
            "tests.asgi.inside_apps:create",
            factory=True,
            bind=["127.0.0.1:0", "[::]:0", f"unix:{paths[0]}"],
            uds=paths[1],
            uds_mode=0o600,
            fd=passed.fileno(),
        )
        cluster = Cluster(app, workers=2, start_method=method, loop=loop, env={"ENDED_IN": str(ended_in)})
        async with cluster.events("listening") as heard, cluster:
            addresses: list[Address] = [(await anext(heard)).address for _ in range(2 * 6)]
            pids = {worker.pid for worker in cluster.workers.values()}
            different = set(addresses)
            assert len(different) == 6, "both workers listen on the same"
            for address in different:
                reachable = Address("tcp4", "127.0.0.1", address.port) if address.host == "0.0.0.0" else address
                assert await ask(reachable) in pids
            every = [address for address in different if address.host in ("::", "0.0.0.0")]
            assert {address.family for address in every} == {"tcp4", "tcp6"}
            assert len({address.port for address in every}) == 1
            assert Address("tcp4", *passed.getsockname()) in different
            assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}

            first = addresses[0]
            assert await get(first, "/loop") == loop
            async with websockets.connect(f"ws://{first.host}:{first.port}/") as echo:
                await echo.send("hello")
                assert await echo.recv() == "hello"
    assert {int(line) for line in ended_in.read_text().splitlines()} == pids, "the shutdown of each app's lifespan"
    out, err = capfd.readouterr()
    assert '"GET /loop HTTP/1.1" 200 OK' in out
    assert '"WebSocket /" [accepted]' in err
    assert "server process" not in err
    assert "application" not in err


async def test_a_request_without_end_leaves_time_for_the_lifespan(tmp_path: Path) -> None:
    ended_in = tmp_path / "ended"
    app = AsgiApp(APP, bind=["127.0.0.1:0"])
    cluster = Cluster(app, workers=1, graceful_timeout=3, env={"ENDED_IN": str(ended_in)})
    async with several(cluster, "listening", "exit") as heard:
        async with cluster:
            address = (await anext(heard)).address
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
            await reader.readuntil(b"more")
        assert (await anext(heard)).reason == "told"
    writer.close()
    assert len(ended_in.read_text().splitlines()) == 1


async def test_a_worker_at_uvicorns_limit_is_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    app = AsgiApp("tests.asgi.inside_quiet:app", bind=["127.0.0.1:0"], uvicorn={"limit_max_requests": 2})
    cluster = Cluster(app, workers=1, env={"ENDED_IN": str(tmp_path / "ended")})
    async with several(cluster, "listening", "exit") as heard, cluster:
        address = (await anext(heard)).address
        first, second = await ask(address), await ask(address)
        assert first == second
        assert (await anext(heard)).name == "listening", "the next one, before the first leaves"
        gone = await anext(heard)
        assert (gone.worker.pid, gone.reason) == (first, "limit")
        assert await ask(address) != first
    assert "GET" not in capfd.readouterr().out, "what the app sets counts"


async def test_with_arguments_a_function_of_three_parameters_is_called(tmp_path: Path) -> None:
    file = tmp_path / "sum"
    await run_in_worker("tests.asgi.inside_apps:add", args=[str(file), "a", "b"])
    assert file.read_text() == "ab"
