"""The example of work that is done once in the whole cluster."""

from __future__ import annotations

import asyncio
import re
import signal

import pytest

from aiocluster.events import Address
from tests.support.programs import printed, running_server


async def says(address: Address, target: str = "/") -> tuple[int, str]:
    """Which worker answers, and which run it knows of."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    found = re.search(r"worker (\d+): run (\w+)\n$", text)
    assert found is not None, text
    return int(found[1]), found[2]


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_it_is_done_once_and_all_know() -> None:
    with running_server("run_once.py", signal.SIGTERM, INTERVAL="3600") as (process, address):
        first = re.fullmatch(r"run 1, by (\d+)\n", await printed(process))
        assert first is not None
        pids: set[int] = set()
        while len(pids) < 4:  # one that is not online yet would miss the next run
            pids.add((await says(address))[0])
        assert int(first[1]) not in pids
        await says(address, "/now")
        assert await printed(process) == f"run 2, by {first[1]}\n"
        known: dict[int, str] = {}
        while set(known.values()) != {"2"} or known.keys() != pids:
            worker, run = await says(address)
            known[worker] = run


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_from_time_to_time() -> None:
    with running_server("run_once.py", signal.SIGTERM, INTERVAL="0.05") as (process, _):
        runs = [await printed(process) for _ in range(5)]
        assert len({run.split(", by ")[1] for run in runs}) == 1
        assert [run.split(",")[0] for run in runs] == [f"run {number}" for number in range(1, 6)]
