"""The examples that show messages, handles and calls run, and do what their docstrings say."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support.programs import environment, printed, running_server
from tests.support.serving import EXAMPLES, Client, ask


async def test_send_server() -> None:
    with running_server("send_server.py", signal.SIGINT) as (process, address):
        workers = {int((await printed(process)).removeprefix("created worker ")) for _ in range(4)}
        assert len(workers) == 4
        assert await ask(address) in workers
        ended = await ask(address, "/exit")
        assert ended in workers
        assert await printed(process) == f"worker {ended} ended: 1 None\n"
        replacement = int((await printed(process)).removeprefix("created worker "))
        assert replacement not in workers
        while await ask(address) != replacement:  # whom the kernel wakes is up to it
            pass


async def test_send_connections() -> None:
    with running_server("send_connections.py", signal.SIGINT) as (process, address):
        workers = set(map(int, (await printed(process)).removeprefix("workers: ").split()))
        answers = [await ask(address) for _ in range(12)]
        assert Counter(answers) == dict.fromkeys(answers, 3)
        assert answers[:4] == answers[4:8] == answers[8:]
        assert set(answers) == workers


def test_worker_to_worker() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "worker_to_worker.py")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    head, path, *rest = done.stdout.splitlines()
    assert head.startswith("primary ")
    first, second, third, last = map(int, re.findall(r"\d+", path))
    assert first == last
    assert len({first, second, third}) == 3
    expected = [f"{pid} was greeted by {first}" for pid in (second, third)]
    (answer,) = set(rest) - set(expected)
    assert re.fullmatch(rf"{first} asked the next one: I am worker \d, pid {second}, and you are {first}", answer)
    assert len(rest) == 3


async def test_long_computation() -> None:
    with running_server("long_computation.py", signal.SIGTERM, COUNT="10000000") as (_, address):

        async def get(path: str) -> str:
            client = await Client.connect(address)
            try:
                await client.send(path)
                return (await client._reader.read()).decode().rpartition("\r\n")[2]
            finally:
                await client.close()

        long = [asyncio.ensure_future(get("/sum")) for _ in range(2)]
        assert [await get("/") for _ in range(5)] == ["succeed"] * 5
        assert not any(request.done() for request in long)
        assert await asyncio.gather(*long) == [str(sum(range(10_000_000)))] * 2
        assert await get("/blocking-sum") == str(sum(range(10_000_000)))


async def test_chat() -> None:
    with running_server("chat.py", signal.SIGTERM) as (_, address):
        page = await Client.connect(address)
        await page.send("/")
        assert b"new WebSocket(" in await page._reader.readuntil(b"</script>")
        await page.close()
        # The first ones are served while other workers still start; all four are there once each has been met.
        async with AsyncExitStack() as stack:
            clients: list[ClientConnection] = []
            of_worker: dict[int, list[ClientConnection]] = {}
            while len(of_worker) < 4 or min(map(len, of_worker.values())) < 2:
                client = await stack.enter_async_context(connect(f"ws://{address}/chat"))
                welcome: Any = json.loads(await client.recv())
                assert welcome["welcome"]
                clients.append(client)
                of_worker.setdefault(welcome["worker"], []).append(client)
            for number in range(3):
                for worker, own in of_worker.items():
                    await own[0].send(f"{worker} says {number}")
            for client in clients:
                heard: list[Any] = [json.loads(await client.recv()) for _ in range(3 * len(of_worker))]
                for worker in of_worker:
                    said = [line["text"] for line in heard if line["worker"] == worker]
                    assert said == [f"{worker} says {number}" for number in range(3)]
