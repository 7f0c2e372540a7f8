"""Sent means sent: a message leaves although its sender gives its loop no further turn, or ends at once."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from aiocluster import Primary
from aiocluster.child_process import fork
from aiocluster.errors import ChannelClosedError

from . import inside
from .party import party


async def test_a_worker_that_computes_has_sent_what_it_sent_before(tmp_path: Path) -> None:
    async with party(1) as all:
        for number in range(3):
            heard = tmp_path / str(number)
            running = asyncio.ensure_future(all.workers[0]._session.run(inside.send_and_block, [number, str(heard)]))
            messages = await all.hears("message", number + 1)
            assert messages[-1].message == number
            assert not running.done()
            heard.touch()
            await running


async def test_a_primary_that_computes_has_sent_what_it_sent_before(tmp_path: Path) -> None:
    """The worker makes the file that the primary, blocked, waits for."""
    async with Primary(inside.touch_what_is_named) as primary:
        worker = await primary.fork()
        await worker.wait_for("message")
        await worker.send(str(tmp_path / "sent"))
        inside.compute_until(str(tmp_path / "sent"))


@pytest.mark.parametrize("start_method", ["spawn", "template"])
async def test_what_a_worker_has_sent_arrives_though_it_ends_by_os_exit(start_method: str) -> None:
    async with party(2, start_method=start_method) as all:
        ending, other = all.workers
        await other._session.run(inside.hear, ["message"])
        messages = [["x" * size, size] for size in (0, 100, 30_000, 200)]
        with pytest.raises(ChannelClosedError):
            await ending._session.run(inside.send_to_and_exit, [other.pid, messages, 3])
        assert (await ending.wait()).code == 3
        assert [event.message for event in await all.hears("message", 4)] == messages
        assert await other._session.run(inside.heard_messages, [4]) == [
            [ending.pid, message, 0] for message in messages
        ]


SCRIPT = """
import asyncio, os, sys
from aiocluster.child_process import parent
from tests.messages.inside import compute_until

async def main():
    await parent().send("begin")
    compute_until(sys.argv[1])
    await parent().send("end")
    os._exit(3)

asyncio.run(main())
"""


async def test_so_does_a_child_that_computes_and_ends_by_os_exit(tmp_path: Path) -> None:
    script, heard = tmp_path / "child.py", tmp_path / "heard"
    script.write_text(SCRIPT)
    child = await fork(script, [heard], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    messages = []
    async for message in child.messages():
        messages.append(message)
        heard.touch()
    assert messages == ["begin", "end"]
    assert (await child.wait()).code == 3
    await child.aclose()
