"""The examples about fleets, on machines that are network namespaces where these may be made."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support.machines import machines
from tests.support.programs import environment
from tests.support.redis import RedisServer, started
from tests.support.serving import EXAMPLES, wait_until_it_is_up


@contextmanager
def running(name: str, *command: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Runs an example, and stops it: it must not write anything to stderr."""
    program = [*command, sys.executable, "-W", "error", str(EXAMPLES / name)]
    process = subprocess.Popen(
        program, env={**environment(), **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
            wait_until_it_is_up(process.pid)
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            assert (process.stderr.read(), process.wait(20)) == ("", 0)
        finally:
            process.kill()


async def client(stack: AsyncExitStack, address: str) -> ClientConnection:
    """A client of the chat, as soon as that serves."""
    while True:
        try:
            one = await stack.enter_async_context(connect(f"ws://{address}/chat"))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            assert json.loads(await one.recv())["welcome"]
            return one


async def test_a_chat_over_two_machines() -> None:
    async with AsyncExitStack() as stack:
        made = stack.enter_context(machines(2))
        bind = ["--bind", "127.0.0.1", *(machine.outside for machine in made), "--protected-mode", "no"]
        redis = stack.enter_context(started(*bind))
        for machine in made:
            url = f"redis://{machine.outside}:{redis.port}"
            env = {"AIOCLUSTER_BACKPLANE": url, "AIOCLUSTER_FLEET": "chat", "HOST": machine.inside, "PORT": "8000"}
            stack.enter_context(running("chat.py", *machine.command, **env))
        here, there = [await client(stack, f"{machine.inside}:8000") for machine in made]
        for number in range(5):
            for one, other in ((here, there), (there, here)):
                await one.send(f"line {number}")
                lines: list[Any] = [json.loads(await each.recv()) for each in (one, other)]
                assert [line["text"] for line in lines] == [f"line {number}"] * 2


def test_a_job_that_runs_once(redis_server: RedisServer) -> None:
    env = {"AIOCLUSTER_BACKPLANE": redis_server.url, "AIOCLUSTER_FLEET": "demo", "INTERVAL": "0.05"}
    line = re.compile(r"worker (\d+): run (\d+) by (\S+)/\d+, token (\d+)\n")
    with ExitStack() as stack:
        stack.enter_context(running("fleet_job.py", **env))
        there = stack.enter_context(running("fleet_job.py", **env))
        assert there.stdout is not None
        first = line.fullmatch(there.stdout.readline())
        assert first is not None
        assert os.uname().nodename in first[3]
        for _ in range(5):
            later = line.fullmatch(there.stdout.readline())
            assert later is not None
            assert later.group(1, 3, 4) == first.group(1, 3, 4)
