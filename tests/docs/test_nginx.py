"""The configurations of the page on nginx, with a real nginx in front of a real cluster."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import connect

from tests.docs.nginx import NGINX, nginx
from tests.docs.ports import free_port
from tests.docs.snippets import ROOT, titled
from tests.support.programs import environment, printed, running_command, running_example
from tests.support.serving import wait_until_it_is_up

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

PAGE = "how-to/nginx.md"


@contextmanager
def application(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Runs the page's application. Yields it and the address of its Unix socket."""
    sock = folder / "app.sock"
    script = folder / "app.py"
    script.write_text(titled(PAGE, "app.py").replace("/run/app/app.sock", str(sock)))
    with subprocess.Popen([sys.executable, str(script)], env=environment()) as process:
        try:
            wait_until_it_is_up(process.pid)
            yield process, str(sock)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.kill()


async def ask(port: int, *headers: str, target: str = "/", local: str = "127.0.0.1") -> tuple[int, str]:
    """One request on a connection of its own. Returns the status and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(local, 0))
    try:
        lines = [f"GET {target} HTTP/1.1", "Host: test", "Connection: close", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        return int(head.split()[1]), body
    finally:
        writer.close()
        await writer.wait_closed()


async def get(port: int, *headers: str, target: str = "/", local: str = "127.0.0.1") -> str:
    """The same, of which the answer is hoped to be good. Returns the body."""
    status, body = await ask(port, *headers, target=target, local=local)
    assert status == 200, (status, body)
    return body


async def first_answer(port: int) -> str:
    """The first good one: workers are online before they listen, and nginx answers 502 until one does."""
    while True:
        status, body = await ask(port)
        if status == 200:
            return body
        assert status == 502


async def test_the_cluster_distributes(tmp_path: Path) -> None:
    with (
        application(tmp_path) as (_, sock),
        nginx(tmp_path, PAGE, "one_address.conf", ("/run/app/app.sock", sock)) as port,
    ):
        workers = {await first_answer(port)}
        while len(workers) < 4:  # from here on each has its turn
            workers.add(await get(port))
        answers = [await get(port, "X-Forwarded-For: 203.0.113.9", local="127.0.0.7") for _ in range(12)]
    assert sorted(Counter(answers).values()) == [3, 3, 3, 3]
    assert all(re.fullmatch(r"worker \d+, client 127\.0\.0\.7\n", answer) for answer in answers)


async def test_kept_connections_are_used_again(tmp_path: Path) -> None:
    with application(tmp_path) as (_, sock), nginx(tmp_path, PAGE, "kept.conf", ("/run/app/app.sock", sock)) as port:
        first = await first_answer(port)
        assert {await get(port) for _ in range(8)} == {first}


async def test_reload_behind_kept_connections(tmp_path: Path) -> None:
    """Every request is answered while the workers are replaced, one after the other."""
    with (
        application(tmp_path) as (process, sock),
        nginx(tmp_path, PAGE, "kept.conf", ("/run/app/app.sock", sock)) as port,
    ):
        await first_answer(port)
        old = psutil.Process(process.pid).children()
        assert len(old) == 4
        process.send_signal(signal.SIGHUP)
        while any(worker.is_running() for worker in old):
            await get(port)
        assert int(re.findall(r"\d+", await get(port))[0]) not in {worker.pid for worker in old}


async def test_websockets(tmp_path: Path) -> None:
    script = str(ROOT / "examples" / "websockets_app.py")
    with running_command("-w", "2", script) as (_, address):
        there = ("unix:/run/app/app.sock", str(address))
        with nginx(tmp_path, PAGE, "one_address.conf", there) as port:
            async with connect(f"ws://127.0.0.1:{port}/") as client:
                await client.send("hello")
                assert re.fullmatch(r"\d+ hello", str(await client.recv()))


async def test_nginx_distributes(tmp_path: Path) -> None:
    """A client keeps its worker; one that ends is left out until its replacement is there."""
    ports: set[str] = set()
    while len(ports) < 4:
        ports.add(str(free_port()))
    places = [(f"127.0.0.1:{3000 + number}", f"127.0.0.1:{port}") for number, port in enumerate(ports)]
    with running_example("own_ports.py", PORTS=" ".join(ports)) as process:
        assert {(await printed(process)).split()[2] for _ in range(4)} == ports
        with nginx(tmp_path, PAGE, "own_addresses.conf", *places) as port:
            clients = [f"127.0.0.{number}" for number in range(1, 33)]
            first = {client: await get(port, local=client) for client in clients}
            assert len(set(first.values())) > 1
            assert first == {client: await get(port, local=client) for client in clients}

            gone = await get(port, target="/exit")
            assert gone not in {await get(port, local=client) for client in clients}
            assert (await printed(process)).split()[2] in ports
