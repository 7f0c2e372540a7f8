"""Starts that fail: what is tried again, what counts, and what is said."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiocluster import Cluster, RestartLimitError, RestartPolicy, StartupError
from tests.support.events import several
from tests.support.programs import environment
from tests.support.serving import serving

from .inside_starts import (
    exit_with,
    lack_a_module,
    lack_a_module_when_told,
    listen_elsewhere_if_in_use,
    return_at_once,
    stay,
)

METHODS = ("spawn", "template")


def run(folder: Path, *command: str, **env: str) -> tuple[int, str, float]:
    """Runs a program. Returns its exit code, what it wrote, and how many seconds it took."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        env={**environment(), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=40,
    )
    return done.returncode, done.stdout, time.monotonic() - began


# ---- want of resources


@pytest.mark.parametrize("method", METHODS)
def test_workers_that_end_while_no_descriptor_is_left(tmp_path: Path, method: str) -> None:
    code, told, _ = run(tmp_path, "-m", "tests.supervise.without_descriptors", "workers_end", method)
    assert code == 0, told


def test_more_workers_wait_for_descriptors(tmp_path: Path) -> None:
    code, told, _ = run(tmp_path, "-m", "tests.supervise.without_descriptors", "more_workers")
    assert code == 0, told


def test_they_wait_no_longer_than_a_start_may_take(tmp_path: Path) -> None:
    code, told, _ = run(tmp_path, "-m", "tests.supervise.without_descriptors", "more_workers_for_too_long")
    assert code == 0, told


# ---- anything else


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), TypeError("expected str"), ValueError("embedded null byte")]
)
async def test_whatever_a_start_raises_the_slot_is_filled_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(stay, workers=1, restart=RestartPolicy(limit=1000, backoff=(0.0, 0.05)))
    async with cluster, several(cluster, "error", "online") as heard:
        (worker,) = cluster.workers.values()

        def fail(*args: object, **named: object) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr("subprocess.Popen", fail)
            worker.kill(signal.SIGKILL)
            told = (await anext(heard)).error
            assert isinstance(told, StartupError)
            assert str(error) in str(told)
            assert told.__cause__ is error
        while (await anext(heard)).name != "online":
            pass
    assert str(error) in caplog.text


async def test_a_limit_with_code_that_can_not_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = tmp_path / "limited_target.py"
    module.write_text("import asyncio\nasync def run(): await asyncio.Event().wait()\n")
    policy = RestartPolicy(limit=3, backoff=(0.2, 0.2))
    cluster = Cluster("limited_target:run", workers=1, cwd=tmp_path, max_lifetime=0.1, restart=policy)
    async with cluster:
        module.write_text("def run(): pass\nraise LookupError('broken by now')\n")
        with pytest.raises(RestartLimitError, match="LookupError: broken by now"):
            await cluster.serve_forever()
        (worker,) = cluster.workers.values()
        assert worker.state == "online"
    assert caplog.text.count("Traceback") == 1, "the four failures are the same"
    assert caplog.text.count("as before") == 3


# ---- what is said


async def test_targets_that_return_are_named_as_the_reason() -> None:
    cluster = Cluster(return_at_once, workers=2, restart=RestartPolicy(limit=2, backoff=(0.0, 0.0)))
    async with cluster:
        with pytest.raises(RestartLimitError, match=r"the last one: worker \d+: its target returned"):
            await cluster.serve_forever()


async def test_exit_codes_are_named_as_the_reason() -> None:
    cluster = Cluster(exit_with, args=["7"], workers=1, restart=RestartPolicy(limit=1, backoff=(0.0, 0.0)))
    async with cluster:
        with pytest.raises(RestartLimitError, match=r"the last one: worker \d+ ended by exit code 7"):
            await cluster.serve_forever()


# ---- starts that can't succeed

PROGRAM = """
    import asyncio, sys
    from aiocluster import Cluster
    from targets import {name}
    async def main():
        async with Cluster({name}, workers=4, start_method={method!r}) as cluster:
            await cluster.serve_forever()
    if __name__ == "__main__": asyncio.run(main())
"""
TARGETS = """
    import asyncio, os, sys
    PORT = int(os.environ["PORT"])
    async def in_use(): await asyncio.start_server(print, "127.0.0.1", PORT)
    async def in_use_in_a_group():
        async with asyncio.TaskGroup() as group: group.create_task(in_use())
    async def in_use_and_exit():
        try: await in_use()
        except OSError: sys.exit(3)
    def lacks_a_module(): import there_is_no_such_module
"""
ADDRESS_IN_USE = "OSError: [Errno 98] error while attempting to bind on address"


@contextmanager
def port_in_use() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("in_use", ADDRESS_IN_USE),
        ("in_use_in_a_group", ADDRESS_IN_USE),
        ("in_use_and_exit", ADDRESS_IN_USE),
        ("lacks_a_module", "ModuleNotFoundError: No module named 'there_is_no_such_module'"),
    ],
)
def test_first_workers_that_fail_as_all_would_end_the_cluster(tmp_path: Path, method: str, name: str, why: str) -> None:
    (tmp_path / "app.py").write_text(textwrap.dedent(PROGRAM.format(name=name, method=method)))
    (tmp_path / "targets.py").write_text(textwrap.dedent(TARGETS))
    with port_in_use() as port:
        code, told, seconds = run(tmp_path, "app.py", PORT=str(port))
    assert code == 1
    *_, last = told.splitlines()
    assert re.match(r"aiocluster.errors.StartupError: worker \d+ \(pid \d+\) can't start: ", last), told
    assert why in last
    assert len(re.findall(rf"^[ |]*{re.escape(why)}", told, re.MULTILINE)) <= 1, told  # tracebacks of workers
    assert seconds < 25  # without any wait for a backoff or a limit, which take longer


@pytest.mark.parametrize("method", METHODS)
def test_a_module_that_can_not_be_imported_is_told_once(tmp_path: Path, method: str) -> None:
    (tmp_path / "app.py").write_text(
        textwrap.dedent(PROGRAM.format(name="serve", method=method))
        .replace("from targets import serve", "")
        .replace("Cluster(serve", "Cluster('targets:serve'")
    )
    (tmp_path / "targets.py").write_text("import there_is_no_such_module\nasync def serve(): pass\n")
    code, told, _ = run(tmp_path, "app.py")
    assert code == 1
    assert "can't start: ModuleNotFoundError: No module named 'there_is_no_such_module'" in told.splitlines()[-1]
    assert len(re.findall("^ModuleNotFoundError: ", told, re.MULTILINE)) == 1, told


@pytest.mark.parametrize("method", METHODS)
def test_an_exception_at_import_is_told_once(tmp_path: Path, method: str) -> None:
    (tmp_path / "app.py").write_text(
        textwrap.dedent(PROGRAM.format(name="serve", method=method))
        .replace("from targets import serve", "")
        .replace("Cluster(serve", "Cluster('targets:serve'")
    )
    (tmp_path / "targets.py").write_text("raise LookupError('at import')\nasync def serve(): pass\n")
    code, told, _ = run(tmp_path, "app.py")
    assert code == 1
    assert told.count("LookupError: at import") == 1, told


@pytest.mark.parametrize("method", METHODS)
def test_workers_whose_own_cluster_can_not_start_fail_as_all_would(tmp_path: Path, method: str) -> None:
    (tmp_path / "app.py").write_text(textwrap.dedent(PROGRAM.format(name="serve", method="spawn")))
    (tmp_path / "targets.py").write_text(
        textwrap.dedent(f"""
            from aiocluster import Cluster
            async def lacks_a_module(): import there_is_no_such_module
            async def serve():
                async with Cluster(lacks_a_module, workers=2, start_method={method!r}) as cluster:
                    await cluster.serve_forever()
        """)
    )
    code, told, seconds = run(tmp_path, "app.py")
    assert code == 1
    who = r"worker \d+ \(pid \d+\) can't start: "
    assert re.match(
        rf"aiocluster.errors.StartupError: {who}{who}ModuleNotFoundError: No module named 'there_is_no_such_module'$",
        told.splitlines()[-1],
    ), told
    assert seconds < 25  # without any wait for a backoff or a limit, which take longer


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "targets.py").write_text(textwrap.dedent(TARGETS))
    with port_in_use() as port:
        code, told, seconds = run(tmp_path, "-m", "aiocluster", "run", "-w", "2", "targets:in_use", PORT=str(port))
    assert code == 1
    assert told.splitlines()[-1].startswith(f"aiocluster: 127.0.0.1:{port} is in use, by pid {os.getpid()} (")
    assert "Traceback" not in told
    assert seconds < 25  # without any wait for a backoff or a limit, which take longer


async def test_who_does_not_serve_forever_is_told_by_give_up() -> None:
    async with Cluster(lack_a_module_when_told, workers=2) as cluster, cluster.events("give_up") as heard:
        await cluster.broadcast("now")
        await anext(heard)
        with pytest.raises(StartupError, match=r"can't start: ModuleNotFoundError: [^\n]*$"):
            await cluster.serve_forever()


async def test_a_later_replacement_goes_by_the_restart_policy() -> None:
    cluster = Cluster(stay, workers=1, restart=RestartPolicy(limit=1, backoff=(0.0, 0.0)))
    async with cluster:
        cluster.primary.setup(target=lack_a_module)
        (worker,) = cluster.workers.values()
        worker.kill(signal.SIGKILL)
        with pytest.raises(RestartLimitError, match="ModuleNotFoundError"):
            await cluster.serve_forever()


async def test_an_error_that_the_target_handles_counts_for_nothing() -> None:
    with port_in_use() as port:
        cluster = Cluster(listen_elsewhere_if_in_use, workers=2, args=[str(port)])
        async with serving(cluster, 2) as address:
            assert address.port != port
            assert cluster.stats().restarts == 0
