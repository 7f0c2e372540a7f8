"""Workers that are forked from a warm interpreter behave like those that are spawned."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Literal

import psutil
import pytest

from aiocluster import Cluster, Primary, ReloadError, StartupError, WorkerProcess

from .inside_template import end_with_7, stay, tell
from .inside_warm import serve


async def test_imports_happen_once_and_forks_differ(tmp_path: Path) -> None:
    async with (
        Primary(
            tell, start_method="template", preload=["decimal"], cwd=tmp_path, args=["--x"], env={"WHO": "all"}
        ) as primary,
        primary.events("message") as heard,
    ):
        first = await primary.fork()
        second = await primary.fork({"WHO": "second"})
        facts = {event.sender: event.message for event in [await anext(heard), await anext(heard)]}
        one, two = facts[first.pid], facts[second.pid]
    assert one["parent"] == two["parent"] == one["imported_by"] == two["imported_by"] != os.getpid()
    assert one["random"] != two["random"]
    assert (one["env"], two["env"]) == ("all", "second")
    assert one["cwd"] == two["cwd"] == str(tmp_path)
    assert one["is_locked"]
    assert two["is_locked"]
    assert one["decimal"]
    assert two["decimal"]
    assert one["argv"] == ["--x"]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_an_application_that_was_used_before_the_fork_serves_on(loop: Literal["asyncio", "uvloop"]) -> None:
    async with Primary(serve, start_method="template", preload=["tests.primary.inside_warming"], loop=loop) as primary:
        worker = await primary.fork()
        listening = await worker.wait_for("listening")
        reader, writer = await asyncio.open_connection(listening.address.host, listening.address.port)
        used_by, answered_by = map(int, (await reader.read()).split())
        writer.close()
        fork_server = psutil.Process(worker.pid).ppid()
    assert (used_by, answered_by) == (fork_server, worker.pid)


async def test_exit_code_and_streams() -> None:
    async with Primary(end_with_7, start_method="template", silent=True) as primary:
        worker = await primary.fork()
        ended = await worker.wait()
        assert (ended.code, ended.signal) == (7, None)
        assert worker.stdout is not None
        assert worker.stderr is not None
        assert await worker.stdout.receive() == b"to stdout\n"
        assert await worker.stderr.receive() == b"to stderr\n"


async def test_signals() -> None:
    async with Primary(stay, start_method="template") as primary:
        worker = await primary.fork()
        await worker.wait_for("online")
        worker.kill(signal.SIGUSR1)
        ended = await worker.wait()
        assert (ended.code, ended.signal) == (None, signal.SIGUSR1)
        worker.kill()  # nothing to send it to


async def test_what_can_not_be_imported(tmp_path: Path) -> None:
    (tmp_path / "broken_target.py").write_text("def run(): pass\nraise ValueError('broken at import')\n")
    cluster = Cluster("broken_target:run", workers=1, start_method="template", cwd=tmp_path)
    with pytest.raises(StartupError, match="broken at import"):
        async with cluster:
            pass


async def test_a_crashed_template_is_replaced_and_its_workers_live_on() -> None:
    async with Primary(tell, start_method="template") as primary, primary.events("message") as heard:
        first = await primary.fork()
        template = psutil.Process((await anext(heard)).message["parent"])
        template.kill()
        await asyncio.to_thread(template.wait)
        assert first.is_connected()
        second = await fork_again(primary)
        facts = (await anext(heard)).message
        assert facts["parent"] != template.pid
        assert second.is_connected()
        first.kill(signal.SIGKILL)
        ended = await first.wait()
        assert (ended.code, ended.signal) == (None, None)  # nobody is left who knows


async def fork_again(primary: Primary) -> WorkerProcess:
    while True:
        try:
            return await primary.fork()
        except StartupError:  # the template's end has not been heard of yet
            await asyncio.sleep(0)


async def test_reload_imports_anew(tmp_path: Path) -> None:
    module = tmp_path / "changing_target.py"
    code = (
        "import asyncio\nfrom aiocluster import current_worker\nasync def run():\n    await current_worker().send({})\n"
    )
    stay_on = "    await asyncio.Event().wait()\n"
    module.write_text(code.format(1) + stay_on)
    cluster = Cluster("changing_target:run", workers=2, start_method="template", cwd=tmp_path)
    async with cluster.events("message") as heard, cluster:
        assert [(await anext(heard)).message for _ in range(2)] == [1, 1]
        module.write_text(code.format(22) + stay_on)
        await cluster.reload()
        assert [(await anext(heard)).message for _ in range(2)] == [22, 22]
        before = set(cluster.workers)
        module.write_text("def run(): pass\nraise ValueError('broken now')\n")
        with pytest.raises(ReloadError, match="broken now"):
            await cluster.reload()
        assert set(cluster.workers) == before
