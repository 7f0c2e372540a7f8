"""A deploy that switches a symbolic link: the next workers come from the new release, as does all they import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiocluster._primary.folders import Folders

ROOT = Path(__file__).parents[2]

RELEASE = """
import asyncio, os
from aiocluster import current_worker

NUMBER = {number}

async def run():
    await current_worker().send([NUMBER, os.getcwd()])
    await asyncio.sleep(3600)
"""

SCRIPT = """
import asyncio, release
asyncio.run(release.run())
"""

APP = """
import asyncio, json, os, shutil, sys
from aiocluster import Cluster, is_primary
import release

async def run():
    await release.run()

async def main():
    root, target, method, cwd = sys.argv[1:]
    target = {"main": run, "imported": release.run, "None": None}.get(target, target)
    cluster = Cluster(target, workers=1, start_method=method, cwd=cwd or None)
    told = []
    async with cluster.events("message") as heard, cluster:
        told.append((await anext(heard)).message)
        os.symlink("releases/2", f"{root}/new")
        os.rename(f"{root}/new", f"{root}/current")
        await cluster.reload()
        told.append((await anext(heard)).message)
        shutil.rmtree(f"{root}/releases/1")
        await cluster.reload()
        told.append((await anext(heard)).message)
        print(json.dumps(told))

if is_primary() and __name__ == "__main__":
    asyncio.run(main())
elif __name__ == "__main__":
    asyncio.run(run())
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in (1, 2):
        folder = tmp_path / "releases" / str(number)
        (folder / "inner").mkdir(parents=True)
        (folder / "app.py").write_text(APP)
        (folder / "release.py").write_text(RELEASE.format(number=number))
        (folder / "script.py").write_text(SCRIPT)
    (tmp_path / "current").symlink_to("releases/1")
    (tmp_path / "command.py").symlink_to("current/app.py")
    return tmp_path


def deploy(
    root: Path, *command: str, folder: str = "", target: str = "main", method: str = "spawn", cwd: str = ""
) -> list[list[object]]:
    at = root / "current" if not folder else Path(folder)
    done = subprocess.run(
        [sys.executable, *command, str(root), target, method, cwd],
        cwd=at,
        env={**os.environ, "PWD": str(at), "PYTHONPATH": str(ROOT)},  # as `cd` of a shell leaves it
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    told: list[list[object]] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("method", ["spawn", "template"])
@pytest.mark.parametrize("target", ["main", "imported", "None", "release:run", "script.py", "script"])
def test_it_is_followed_from_the_working_directory(target: str, method: str, root: Path) -> None:
    expected = [[number, str(root / "releases" / str(number))] for number in (1, 2, 2)]
    assert deploy(root, "app.py", target=target, method=method) == expected


@pytest.mark.parametrize("command", ["-m app", "{root}/current/app.py", "{root}/command.py"])
def test_it_is_followed_however_the_script_was_run(command: str, root: Path) -> None:
    arguments = command.format(root=root).split()
    folder = "" if arguments[0] == "-m" else "/"
    numbers = [number for number, _ in deploy(root, *arguments, folder=folder)]
    assert numbers == [1, 2, 2]


@pytest.mark.parametrize("cwd", ["inner", "{root}/current/inner", "{root}/releases/1/inner"])
def test_it_is_followed_below_the_working_directory(cwd: str, root: Path) -> None:
    expected = [[number, str(root / "releases" / str(number) / "inner")] for number in (1, 2, 2)]
    assert deploy(root, "app.py", cwd=cwd.format(root=root)) == expected


def test_the_working_directory_may_be_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", str(root / "current"))
    monkeypatch.chdir(root / "current")
    folders = Folders()
    assert folders.cwd() == str(root / "current")
    monkeypatch.chdir(root)
    assert folders.cwd() == str(root)
    assert folders.now(str(root / "releases" / "1")) == str(root / "releases" / "1")


def test_a_deleted_working_directory_is_inherited(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "gone").mkdir()
    monkeypatch.setenv("PWD", str(root / "gone"))
    monkeypatch.chdir(root / "gone")
    folders = Folders()
    (root / "gone").rmdir()
    assert folders.cwd() is None
    assert folders.cwd(root) == str(root)
    assert Folders().cwd() is None  # os.getcwd() fails here


@pytest.mark.parametrize("given", ["", "relative", "/", "/nowhere"])
def test_a_pwd_that_names_another_folder_counts_for_nothing(
    given: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PWD", given)
    monkeypatch.chdir(root / "current")
    assert Folders().cwd() == str(root / "releases" / "1")


def test_what_exists_is_not_replaced_by_what_does_not(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "releases" / "1" / "only here").touch()
    monkeypatch.setenv("PWD", str(root / "current"))
    monkeypatch.chdir(root / "current")
    folders = Folders()
    (root / "current").unlink()
    (root / "current").symlink_to("releases/2")
    for name, release in (("only here", 1), ("release.py", 2), ("nowhere", 2)):
        path = str(root / "releases" / "1" / name)
        assert folders.now(path) == str(root / "releases" / str(release) / name)
