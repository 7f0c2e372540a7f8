"""What a worker is given, it gets unchanged: arguments, variables and paths, whatever their bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Cluster

ROOT = Path(__file__).parents[2]

start_methods = pytest.mark.parametrize("start_method", ["spawn", "template"])

PROGRAM = """
import asyncio, json, os, sys
from aiocluster import Primary, current_worker, is_worker

at_import = sys.argv[1:]

def seen(*args):
    return {
        "at import": at_import,
        "argv": [os.fsencode(text).hex() for text in sys.argv[1:]],
        "args": [os.fsencode(text).hex() for text in args],
        "env": os.environb.get(b"ODD", b"").hex(),
        "cwd": os.getcwdb().hex(),
        "file": os.fsencode(__file__).hex(),
        "path": [os.fsencode(entry).hex() for entry in sys.path],
    }

async def bare():
    await current_worker().send(json.dumps(seen()))
    await asyncio.sleep(3600)

async def with_args(*args):
    await current_worker().send(json.dumps(seen(*args)))
    await asyncio.sleep(3600)

async def main():
    odd = os.fsdecode(b"caf\\xe9")
    target = {"None": None, "bare": bare, "with_args": with_args}[os.environ["TARGET"]]
    args = [odd] if "ARGS" in os.environ else []
    cwd = os.environ.get("CWD")
    settings = {"start_method": os.environ["METHOD"], "env": {"ODD": os.fsdecode(b"\\xff=\\xfe")}, "cwd": cwd}
    async with Primary(target, args=args, **settings) as primary, primary.events("message") as heard:
        await primary.fork()
        print((await anext(heard)).message)

if is_worker() and __name__ == "__main__":
    asyncio.run(bare())
elif __name__ == "__main__":
    asyncio.run(main())
"""

ODD = b"caf\xe9"
"""ISO 8859-1: no UTF-8."""


def run(folder: bytes, *args: str, **env: str) -> dict[str, Any]:
    os.makedirs(folder, exist_ok=True)
    script = os.path.join(folder, b"program.py")
    with open(script, "w") as file:
        file.write(PROGRAM)
    done = subprocess.run(
        [sys.executable, script, *args],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdout=subprocess.PIPE,
        check=True,
        timeout=30,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@start_methods
@pytest.mark.parametrize("target", ["None", "bare", "with_args"])
def test_a_main_script_reads_its_arguments_again(target: str, start_method: str, tmp_path: Path) -> None:
    told = run(os.fsencode(tmp_path), "--port", "8000", TARGET=target, METHOD=start_method)
    assert told["at import"] == ["--port", "8000"]
    assert told["argv"] == [b"--port".hex(), b"8000".hex()]


@start_methods
@pytest.mark.parametrize("target", ["None", "bare", "with_args"])
def test_arguments_of_its_own(target: str, start_method: str, tmp_path: Path) -> None:
    told = run(os.fsencode(tmp_path), "--port", TARGET=target, METHOD=start_method, ARGS="1")
    if target == "with_args":
        assert (told["at import"], told["args"]) == (["--port"], [ODD.hex()])
    else:
        assert (told["argv"], told["args"]) == ([ODD.hex()], [])


@start_methods
@pytest.mark.parametrize("target", ["None", "bare"])
def test_bytes_that_are_no_utf8(target: str, start_method: str, tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), ODD)
    told = run(folder, TARGET=target, METHOD=start_method, CWD=os.fsdecode(folder))
    assert told["env"] == b"\xff=\xfe".hex()
    assert told["cwd"] == folder.hex()
    assert told["file"] == os.path.join(folder, b"program.py").hex()
    assert folder.hex() in told["path"]


FLAGS = """
import asyncio, sys
from aiocluster import Primary, current_worker

def options():
    return [str(sys.flags), str(sorted(sys._xoptions.items())), str(sys.warnoptions), str(sys.stdout.write_through)]

async def tell():
    await current_worker().send(options())
    await asyncio.sleep(3600)

async def main():
    async with Primary(tell, start_method=sys.argv[1]) as primary, primary.events("message") as heard:
        await primary.fork()
        message = (await anext(heard)).message
        assert message == options(), (message, options())

if __name__ == "__main__":
    asyncio.run(main())
"""


@start_methods
@pytest.mark.parametrize("options", ["", "-O -B", "-W error -s", "-u", "-X utf8 -X faulthandler"])
def test_options_of_the_interpreter(options: str, start_method: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(FLAGS)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop("PYTHONUNBUFFERED", None)
    command = [sys.executable, *options.split(), str(tmp_path / "program.py"), start_method]
    subprocess.run(command, env=env, check=True, timeout=30)


@start_methods
async def test_a_function_at_a_path_that_is_no_utf8(start_method: Any, tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), ODD)
    os.mkdir(folder)
    with open(os.path.join(folder, b"odd_target.py"), "w") as file:
        file.write("import asyncio, os\nasync def run(): await asyncio.sleep(3600)\ndef cwd(): return os.getcwdb()\n")
    cluster = Cluster("odd_target:run", workers=1, cwd=os.fsdecode(folder), start_method=start_method)
    async with cluster:
        assert await cluster.call("odd_target:cwd") == folder
