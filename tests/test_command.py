"""``python -m aiocluster run``: unmodified scripts in many workers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.programs import ROOT, environment, running_command
from tests.support.serving import Client


@pytest.mark.parametrize("server", ["uvicorn", "aiohttp", "asyncio"])
async def test_an_unmodified_http_server(server: str) -> None:
    with running_command("-w", "4", f"examples/{server}_app.py") as (process, address):
        workers = {child.pid for child in psutil.Process(process.pid).children()}
        assert len(workers) == 4
        answered: set[int] = set()
        while answered != workers:  # the first ones answer while the others still start
            client = await Client.connect(address)
            answered.add(await client.ask())
            await client.close()


async def test_an_unmodified_websocket_server() -> None:
    from websockets.asyncio.client import connect

    with running_command("-w", "4", "examples/websockets_app.py") as (process, address):
        workers = {child.pid for child in psutil.Process(process.pid).children()}
        answered: set[int] = set()
        while answered != workers:
            async with connect(f"ws://{address}") as connection:
                await connection.send("hello")
                answered.add(int(str(await connection.recv()).split()[0]))


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "aiocluster", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=30)


def test_a_script_that_is_not_there() -> None:
    done = run("run", "-w", "2", "missing.py")
    assert done.returncode == 2
    assert "aiocluster: there is no script missing.py" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["run", "-w", "0", "examples/asyncio_app.py"],
        ["run", "-w", "many", "examples/asyncio_app.py"],
        ["run", "--scheduling", "nonsense", "examples/asyncio_app.py"],
        ["run", "no_such_module"],
    ],
)
def test_nonsense_is_refused(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_that_can_not_be_imported(tmp_path: Path) -> None:
    (tmp_path / "failing_of_test.py").write_text("import no_such_module_of_test\ndef name(): ...")
    done = run("run", "-w", "2", "failing_of_test:name", cwd=tmp_path)
    assert done.returncode == 1
    assert "can't start: ModuleNotFoundError: No module named 'no_such_module_of_test'" in done.stderr.splitlines()[-1]


def test_arguments_are_the_targets(tmp_path: Path) -> None:
    (tmp_path / "args.py").write_text(
        "import os, signal, sys, time\n"
        "from tests.support.serving import wait_until_it_is_up\n"
        "print(sys.argv[1:], flush=True)\n"
        "wait_until_it_is_up(os.getppid())\n"
        "os.kill(os.getppid(), signal.SIGTERM)\n"
        "time.sleep(60)\n"
    )
    done = run("run", "-w", "1", "args.py", "a", "-w", "--port", "5", "--", "--help", cwd=tmp_path)
    assert done.stdout == "0 | ['a', '-w', '--port', '5', '--', '--help']\n", done.stderr
    assert done.returncode == 0


async def test_help_names_what_there_is() -> None:
    done = await asyncio.to_thread(run, "run", "--help")
    assert done.returncode == 0
    for word in ("TARGET", "--workers", "--scheduling", "round_robin", "shared"):
        assert word in done.stdout


@pytest.mark.parametrize("workers", ["8:2", "0:4", "2:", ":8", "1:2:3", "two", "2.5", "0"])
async def test_numbers_of_workers_that_are_none(workers: str) -> None:
    done = await asyncio.to_thread(run, "run", "-w", workers, "examples/echo.py")
    assert done.returncode == 2
    assert "workers" in done.stderr
    assert "Traceback" not in done.stderr
