"""Workers that fail, and what becomes of those that are well."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from aiocluster import Cluster, RemoteError, RestartLimitError, RestartPolicy
from aiocluster.events import Error, Exit, GiveUp
from tests.support.events import several
from tests.support.serving import EXAMPLES, ask, serving

from .inside_cluster import crash, crash_when_told
from .inside_crash import answer_slowly_and_crash, break_down_when_told, leave_a_task_alone, serve_or_crash_if_second
from .load import Load

ROOT = Path(__file__).parent.parent.parent

# ---- an uncaught exception


async def test_the_replacement_listens_while_the_crashed_one_still_answers() -> None:
    cluster = Cluster(answer_slowly_and_crash, workers=1)
    async with serving(cluster, 1) as address, several(cluster, "error", "listening", "exit", "message") as heard:
        (crashed,) = cluster.workers.values()
        asked = asyncio.ensure_future(ask(address))
        assert (await anext(heard)).message == "asked"
        await crashed.send("crash")
        error: Error = await anext(heard)
        assert isinstance(error.error, RemoteError)
        assert "in answer_slowly_and_crash" in str(error.error.remote_traceback)
        listening = await anext(heard)
        assert listening.name == "listening"
        assert not crashed.is_dead()
        assert crashed.is_connected()
        assert not asked.done()
        new = listening.worker
        asked_new = asyncio.ensure_future(ask(address))
        message = await anext(heard)
        assert (message.message, message.worker) == ("asked", new)
        for worker in (crashed, new):
            await worker.send("answer")
        assert await asked == crashed.pid
        assert await asked_new == new.pid
        exit: Exit = await anext(heard)
        assert (exit.worker, exit.code, exit.signal) == (crashed, 1, None)
        assert crashed.exited_after_disconnect is False
        assert cluster.stats().restarts == 1


@pytest.mark.parametrize("nobody", [None, False])
async def test_without_a_restart_policy_nobody_is_replaced(nobody: Literal[False] | None) -> None:
    """`serve_forever` returns once nobody is left, without an error: this is what was asked for."""
    async with (
        Cluster(crash_when_told, workers=2, restart=nobody) as cluster,
        several(cluster, "give_up", "fork") as heard,
    ):
        serving_forever = asyncio.ensure_future(cluster.serve_forever())
        for worker in list(cluster.workers.values()):
            await worker.send("crash")
            await worker.wait()
        await serving_forever
        assert cluster.stats().restarts == 0
        await cluster.reload()  # fills the empty slots
        assert [event.name for event in (await anext(heard), await anext(heard))] == ["fork", "fork"]
        assert len(cluster.workers) == 2


async def test_what_it_has_not_finished_ends_with_graceful_timeout() -> None:
    cluster = Cluster(answer_slowly_and_crash, workers=1, graceful_timeout=0.5)
    async with serving(cluster, 1) as address, several(cluster, "message", "exit") as heard:
        (crashed,) = cluster.workers.values()
        asked = asyncio.ensure_future(ask(address))
        assert (await anext(heard)).message == "asked"
        began = asyncio.get_running_loop().time()
        await crashed.send("crash")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asked
        exit: Exit = await anext(heard)
        assert 0.4 < asyncio.get_running_loop().time() - began < 3
        assert (exit.worker, exit.code, exit.signal) == (crashed, 1, None)


async def test_a_task_nobody_awaits_is_only_logged() -> None:
    cluster = Cluster(leave_a_task_alone, workers=1, silent=True)
    async with several(cluster, "message", "error", "exit") as heard, serving(cluster, 1) as address:
        assert (await anext(heard)).message == "still here"
        (worker,) = cluster.workers.values()
        assert await ask(address) == worker.pid
        text = b""
        assert worker.stderr is not None
        while b"LookupError: nobody awaits this" not in text:
            text += await worker.stderr.receive()
        assert b"Task exception was never retrieved" in text


async def test_a_hard_crash_leaves_its_stack_on_stderr() -> None:
    cluster = Cluster(break_down_when_told, workers=1, silent=True)
    async with cluster, several(cluster, "online", "exit") as heard:
        (broken,) = cluster.workers.values()
        await broken.send("break down")
        exit: Exit = await anext(heard)
        assert (exit.worker, exit.code, exit.signal) == (broken, None, signal.SIGSEGV)
        assert broken.stderr is not None
        text = b"".join([chunk async for chunk in broken.stderr]).decode()
        assert "Fatal Python error: Segmentation fault" in text
        assert "in break_down\n" in text
        assert (await anext(heard)).name == "online"


# ---- giving up


async def test_the_last_traceback_is_in_the_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    cluster = Cluster(crash, workers=1, restart=RestartPolicy(limit=2, backoff=(0.0, 0.01)), silent=True)
    async with several(cluster, "give_up", "fork") as heard:
        with pytest.raises(RestartLimitError) as caught:
            async with cluster:
                await cluster.serve_forever()
        assert "LookupError: crashed as it should" in str(caught.value)
        assert "in crash\n" in str(caught.value)
        events = [await anext(heard) for _ in range(4)]
    assert [event.name for event in events] == ["fork"] * 3 + ["give_up"]
    give_up: GiveUp = events[-1]
    assert [(exit.worker.id, exit.code) for exit in give_up.exits] == [(1, 1), (2, 1), (3, 1)]


def test_the_exit_code_is_not_0() -> None:
    code = (
        "import asyncio\nfrom aiocluster import Cluster, RestartPolicy\n"
        "from tests.supervise.test_cluster import crash\n"
        "async def main():\n"
        "    async with Cluster(crash, workers=2, restart=RestartPolicy(limit=2)) as cluster:\n"
        "        await cluster.serve_forever()\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "RestartLimitError: more than 2 workers ended unasked" in done.stderr.replace("aiocluster.errors.", "")


async def test_a_broken_place_does_not_take_the_healthy_one_along(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    policy = RestartPolicy(limit=3, backoff=(0.0, 0.05))
    cluster = Cluster(serve_or_crash_if_second, workers=2, args=[str(tmp_path / "lock")], restart=policy, silent=True)
    async with cluster.events("give_up") as heard, serving(cluster, 1) as address, Load(address, clients=4) as load:
        await anext(heard)
        await load.goes_on()
        (healthy,) = {worker.pid for worker in cluster.workers.values() if worker.state == "listening"}
    assert load.errors == []
    assert set(load.answers) == {healthy}


async def test_a_target_that_is_gone_for_a_while(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As while a new version is being copied: the place is filled as soon as it can be."""
    caplog.set_level(logging.CRITICAL)
    script = tmp_path / "script_of_test.py"
    script.write_text((EXAMPLES / "asyncio_app.py").read_text())
    cluster = Cluster(script, workers=1, env={"PORT": "0"}, restart=RestartPolicy(limit=1000, backoff=(0.0, 0.05)))
    async with serving(cluster, 1) as address, several(cluster, "exit", "listening") as heard:
        (worker,) = cluster.workers.values()
        moved = script.rename(tmp_path / "moved")
        worker.kill(signal.SIGKILL)
        assert (await anext(heard)).name == "exit"
        while cluster.stats().restarts < 3:
            await asyncio.sleep(0.01)
        moved.rename(script)
        listening = await anext(heard)
        assert await ask(address) == listening.worker.pid
