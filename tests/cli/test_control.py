"""The control socket of a running cluster: what it tells, what it does, and whom it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Cluster, ClusterError
from aiocluster._control import claim, client, folders, protocol
from tests.support.serving import EXAMPLES, ask, serving


@pytest.fixture(autouse=True)
def runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder of the test's own, with a short path."""
    with tempfile.TemporaryDirectory(prefix="aic-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder) / "aiocluster"


def cluster(**settings: Any) -> Cluster:
    return Cluster(EXAMPLES / "asyncio_app.py", **{"workers": 1, "env": {"PORT": "0"}, **settings})


async def asked(path: Path, request: protocol.Request) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The outcome, and what was told before it."""
    told: list[dict[str, Any]] = []
    return await asyncio.to_thread(client.ask, path, request, told.append, within=20), told


async def test_what_it_tells_and_does(runtime_folder: Path) -> None:
    async with serving(cluster(name="shop"), 1) as address:
        path = runtime_folder / "shop.sock"
        assert [stat.S_IMODE(os.stat(one).st_mode) for one in (runtime_folder, path)] == [0o700, 0o600]

        found, _ = await asked(path, protocol.Describe())
        assert json.loads(json.dumps(found)) == found
        assert (found["name"], found["pid"], found["state"]) == ("shop", os.getpid(), "running")
        assert (found["addresses"], found["bounds"], found["policy"]) == ([str(address)], [1, 1], "least_busy")
        (worker,) = found["workers"]
        assert (worker["slot"], worker["state"], worker["restarts"]) == (0, "listening", 0)
        assert worker["pid"] == await ask(address)
        assert worker["memory"] > 1_000_000
        assert worker["cpu_seconds"] > 0

        found, told = await asked(path, protocol.Scale(2, 2))
        assert [one["slot"] for one in found["workers"]] == [0, 1]
        assert {one["event"] for one in told} >= {"fork", "online"}

        found, told = await asked(path, protocol.Resize(-1))
        assert found["bounds"] == [1, 1]
        assert [(one["slot"], one["reason"]) for one in told if one["event"] == "exit"] == [(1, "told")]

        with pytest.raises(client.RefusedError, match="workers must be"):
            await asked(path, protocol.Scale(0, 0))

        found, _ = await asked(path, protocol.Reload({"OF_THE_TEST": "new", "PWD": "/nowhere"}))
        assert found["workers"][0]["pid"] != worker["pid"]
        assert found["workers"][0]["last_exit"]["reason"] == "told"
        assert os.environ.pop("OF_THE_TEST") == "new"
        assert os.environ["PWD"] != "/nowhere"
    assert list(runtime_folder.iterdir()) == []


async def test_stop_ends_what_serves_forever(runtime_folder: Path) -> None:
    async with cluster(name="shop") as running:
        forever = asyncio.create_task(running.serve_forever())
        await asyncio.sleep(0)
        stopping = asyncio.create_task(asked(runtime_folder / "shop.sock", protocol.Stop(True)))
        await forever
    found, told = await stopping
    assert found["state"] == "stopping"
    assert [one["event"] for one in told][-1:] == ["exit"]


async def test_a_name_is_used_once(runtime_folder: Path) -> None:
    async with cluster(name="shop"):
        second = cluster(name="shop")
        with pytest.raises(ClusterError, match=f"the name 'shop' is in use by pid {os.getpid()}"):
            async with second:
                pass
        third = cluster()
        third._control.named_after = "shop"
        async with third:
            assert sorted(one.name for one in runtime_folder.glob("*.sock")) == ["shop-2.sock", "shop.sock"]


async def test_hostile_clients_cost_nothing(runtime_folder: Path) -> None:
    def hostile(path: Path) -> None:
        for data in (
            b"\xff" * 100,  # a length over the limit
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x00\x00\x00\x01\xc1",  # no msgpack
            b"\x00\x00\x00\x02\x91\x63",  # no such request
            b"\x00\x00\x00\x03\x92\x04\x01",  # a field is missing
            b"\x00\x00\x00\x04\x93\x04\xa1a",  # what is announced is missing
        ):
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(20)
                one.connect(str(path))
                one.sendall(data)
                one.shutdown(socket.SHUT_WR)
                while one.recv(65536):
                    pass

    async with cluster(name="shop"):
        path = runtime_folder / "shop.sock"
        await asyncio.to_thread(hostile, path)
        silent = []
        try:
            for _ in range(100):  # more than are let in
                silent.append(one := socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                try:
                    one.connect(str(path))
                except BlockingIOError:
                    break
            await asyncio.sleep(0.01)
        finally:
            for one in silent:
                one.close()
        found, _ = await asked(path, protocol.Describe())
        assert found["state"] == "running"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
async def test_other_users_are_refused(runtime_folder: Path) -> None:
    async with cluster(name="shop"):
        for place in (runtime_folder.parent, runtime_folder):
            place.chmod(0o711)
        (runtime_folder / "shop.sock").chmod(0o666)
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.setblocking(False)
            os.seteuid(65534)  # which the kernel notes when it connects
            try:
                stranger.connect(str(runtime_folder / "shop.sock"))
            finally:
                os.seteuid(0)
            assert await asyncio.get_running_loop().sock_recv(stranger, 1) == b""


async def test_without_a_place_it_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    too_long = tmp_path / ("long" * 30)
    too_long.mkdir()
    for place in (too_long, file):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
        monkeypatch.setattr(tempfile, "tempdir", str(file))
        async with cluster(name="shop") as running:
            assert len(running.workers) == 1
    assert list((too_long / "aiocluster").iterdir()) == []


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(folders.FolderError):
        folders.private(tmp_path / "link")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    assert folders.private(open_to_all) == open_to_all
    assert stat.S_IMODE(open_to_all.stat().st_mode) == 0o700
    if os.getuid() == 0:
        os.chown(open_to_all, 65534, 65534)
        with pytest.raises(folders.FolderError):
            folders.private(open_to_all)


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from aiocluster._control.claim import claim\n"
        f"one = claim(pathlib.Path({str(tmp_path)!r}), 'shop', {{'target': 'shop:app'}})\n"
        "print(flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            (found,) = claim.find(tmp_path)
            assert (found.name, found.is_alive, found.pid) == ("shop", True, process.pid)
            assert found.about["target"] == "shop:app"
            with pytest.raises(claim.NameInUseError, match=f"by pid {process.pid}"):
                claim.claim(tmp_path, "shop", {})
            claim.forget(found)
            assert claim.find(tmp_path) == [found]
        finally:
            process.kill()
            process.wait()
    (found,) = claim.find(tmp_path)
    assert (found.is_alive, found.pid) == (False, process.pid)
    claim.claim(tmp_path, "shop", {}).release()
    assert claim.find(tmp_path) == []
