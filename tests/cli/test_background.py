"""Clusters in the background: started, shown, changed, stopped, forgotten; each by the command itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.background import Place, place
from tests.support.serving import EXAMPLES

pytestmark = pytest.mark.timeout(180)  # each starts a command a few times, beside whatever else the machine does

CODE = (EXAMPLES / "asyncio_app.py").read_text()


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        (one.folder / "shop.py").write_text(CODE)
        yield one


def wait_gone(pid: int) -> None:
    """Returns when that process, which is no child of this one, has ended."""
    psutil.Process(pid).wait(20)


def answers(address: str) -> int:
    with urllib.request.urlopen(f"http://{address}/", timeout=20) as response:
        return int(response.read())


def test_a_life_in_the_background(here: Place) -> None:
    started = here.shows("start", "--log-keep", "2", "-w", "1", "--name", "shop", "shop.py")
    assert started.splitlines()[-1].startswith("shop is up: 1 worker, pid "), started

    found = here.described("shop")
    assert (found["name"], found["state"], found["target"], found["bounds"]) == ("shop", "running", "shop.py", [1, 1])
    (address,) = found["addresses"]
    (worker,) = found["workers"]
    assert answers(address) == worker["pid"]
    assert os.getsid(found["pid"]) != os.getsid(0)

    refused = here.run("start", "--name", "shop", "shop.py")
    assert (refused.returncode, f"in use by pid {found['pid']}" in refused.stderr) == (2, True), refused.stderr
    mistaken = here.run("reload", "shp")
    assert (mistaken.returncode, mistaken.stderr) == (
        2,
        "aiocluster: there is no cluster 'shp'; did you mean 'shop'?\n",
    )

    scaled = [json.loads(line) for line in here.shows("scale", "shop", "+1", "--json").splitlines()]
    assert scaled[-1]["bounds"] == [2, 2]
    assert ("online", 1) in [(one.get("event"), one.get("slot")) for one in scaled]

    stopped = here.shows("stop", "shop")
    assert stopped.splitlines()[-1] == "shop is stopped"
    assert not psutil.pid_exists(found["pid"])
    assert here.described("shop")["state"] == "stopped"
    assert here.shows("stop", "shop") == "shop had stopped already\n"
    lines = here.shows("logs", "shop", "-n", "1000")
    assert lines.count("--- ") == 2
    assert lines.splitlines()[-1].endswith("shop has ended: exit code 0")
    assert here.shows("delete", "shop") == "shop is forgotten\n"
    assert not here.log.parent.exists()


def test_reload_and_restart_with_another_environment(here: Place) -> None:
    (here.folder / "shop.py").write_text(
        "import os; open('env', 'w').write(os.environ.get('OF_THE_TEST', ''))\n" + CODE
    )
    here.shows("start", "-w", "1", "--name", "shop", "shop.py")
    found = here.described("shop")
    reloaded = here.shows("reload", "shop", "--update-env", OF_THE_TEST="new")
    assert f"worker 0 (pid {found['workers'][0]['pid']}) has left" in reloaded
    assert (here.folder / "env").read_text() == "new"
    (here.folder / "env").unlink()
    assert "shop is stopped" in here.shows("restart", "shop")
    assert (here.folder / "env").read_text() == "new"
    assert here.described("shop")["pid"] != found["pid"]


def test_a_killed_primary(here: Place) -> None:
    here.shows("start", "-w", "1", "--name", "shop", "shop.py")
    found = here.described("shop")
    os.kill(found["pid"], signal.SIGKILL)
    wait_gone(found["pid"])
    assert here.shows("list").split("\n")[1].split()[:3] == ["shop", "died", "-"]
    assert here.shows("stop", "shop") == "shop had died: cleaned up\n"
    assert here.shows("start", "shop").splitlines()[-1].startswith("shop is up")
    assert "killed by SIGKILL" in here.shows("logs", "shop", "-n", "1000")
    assert here.shows("stop", "shop", "--now").splitlines()[-1] == "shop is stopped"


def test_a_killed_keeper(here: Place) -> None:
    """No request fails, the log goes on, and how it ends is remembered."""
    talks = CODE.replace("writer.write(", "print('answered', flush=True); writer.write(")
    (here.folder / "talks.py").write_text(talks)
    here.shows("start", "-w", "1", "--name", "shop", "talks.py")
    found = here.described("shop")
    (address,) = found["addresses"]
    keeper = psutil.Process(found["pid"]).parent()
    assert keeper is not None
    keeper.kill()
    keeper.wait(20)
    for _ in range(3):
        assert answers(address) == found["workers"][0]["pid"]
    following = here.in_terminal("logs", "shop", "-f", "-n", "1000")
    following.expect("goes on: who wrote this log was killed")
    for _ in range(3):
        following.expect("0 | answered")
    following.close(force=True)
    assert here.shows("stop", "shop").splitlines()[-1] == "shop is stopped"
    assert here.described("shop")["state"] == "stopped"
    assert here.shows("logs", "shop", "-n", "1").endswith("shop has ended: exit code 0\n")


def test_everything_as_json(here: Place) -> None:
    """Nothing else is on stdout. Options after the name of one that is remembered are added."""

    def told(*words: str) -> Any:
        out = here.shows(words[0], "--json", *words[1:])
        if out.startswith(("{\n", "[\n")):
            return json.loads(out)
        *events, last = [json.loads(line) for line in out.splitlines()]
        assert all("event" in one for one in events), events
        return last

    started = told("start", "-w", "1", "--name", "shop", "shop.py")
    assert (started["name"], started["state"], started["bounds"]) == ("shop", "running", [1, 1])
    assert told("save") == {"saved": ["shop"], "not_saved": []}
    assert told("startup")["path"].endswith("/systemd/user/aiocluster.service")
    assert told("start", "--saved")["pid"] == started["pid"]
    refused = here.run("start", "shop", "-w", "2", "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "runs already, as pid" in refused.stderr
    stopped = told("stop", "shop")
    assert (stopped["name"], stopped["was"], stopped["state"], stopped["pid"]) == ("shop", "running", "stopped", None)
    lines = [json.loads(line) for line in here.shows("logs", "shop", "--json").splitlines()]
    assert lines[-1]["text"] == "shop has ended: exit code 0"
    assert all(one.keys() >= {"time", "level", "stream", "slot", "text"} for one in lines)

    for words in (["shop", "other"], ["shop", "--nonsense"]):
        assert here.run("start", *words).returncode == 2
    assert told("start", "shop", "-w", "2", "--log-keep", "3")["bounds"] == [2, 2]
    again = told("restart", "shop")
    assert (again["bounds"], again["pid"] != started["pid"]) == ([2, 2], True)
    assert told("delete", "--all")["state"] == "deleted"
    assert told("list") == []


def test_a_start_that_fails_says_why_in_one_line(here: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = here.run("start", "-w", "1", "--name", "shop", "shop.py", PORT=str(port))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"aiocluster: shop could not start: 127.0.0.1:{port} is in use, by pid {os.getpid()} ")
    assert here.described("shop")["state"] == "failed"
    for words in (["missing.py"], ["--nonsense", "shop.py"]):
        assert here.run("start", *words).returncode == 2


def test_a_reload_that_fails_says_why_in_one_line_and_the_log_all(here: Place) -> None:
    here.shows("start", "-w", "1", "--name", "shop", "shop.py")
    (here.folder / "shop.py").write_text(
        "import no_such_module\n" + CODE.partition("from __future__ import annotations")[2]
    )
    before = here.described("shop")
    done = here.run("reload", "shop")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(": ModuleNotFoundError: No module named 'no_such_module'")
    assert here.described("shop")["workers"][0]["pid"] == before["workers"][0]["pid"]
    assert "    import no_such_module" in here.shows("logs", "shop", "-n", "100")


def test_saved_ones_are_started_again(here: Place) -> None:
    here.shows("start", "-w", "1", "--name", "shop", "shop.py")
    assert here.shows("save") == "saved: shop\n"
    assert here.shows("stop", "--saved").splitlines()[-1] == "shop is stopped"
    here.shows("delete", "shop")
    assert here.shows("start", "--saved").splitlines()[-1].startswith("shop is up")
    assert here.shows("start", "--saved") == "shop runs already\n"
    unit = here.shows("startup")
    assert f"ExecStart={sys.executable} -P -m aiocluster start --saved\n" in unit
    written = here.shows("startup", "--install", XDG_CONFIG_HOME=str(here.folder))
    assert written == ""
    assert (here.folder / "systemd/user/aiocluster.service").read_text() == unit


def test_others_are_found_too(here: Place) -> None:
    """One of `run`, and one of a program of its own."""
    code = (
        "import asyncio\nfrom aiocluster import Cluster\n"
        "async def main():\n"
        "    async with Cluster('shop.py', workers=1, name='own') as cluster:\n"
        "        print(flush=True)\n"
        "        await cluster.serve_forever()\n"
        "if __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    (here.folder / "own.py").write_text(code)
    run = subprocess.Popen(
        here.command("run", "-w", "1", "shop.py"), cwd=here.folder, env=here.env, stderr=subprocess.DEVNULL
    )
    own = subprocess.Popen([sys.executable, "own.py"], cwd=here.folder, env=here.env, stdout=subprocess.PIPE)
    with run, own:
        try:
            assert own.stdout is not None
            own.stdout.readline()
            while len(here.alive()) < 2:
                assert run.poll() is None
            assert [one["name"] for one in json.loads(here.shows("list", "--json"))] == ["own", "shop"]
            assert here.run("logs", "own").returncode == 2
            assert here.run("restart", "own").returncode == 2
            assert here.shows("stop", "--all") == "none runs in the background\n"
            assert here.shows("stop", "own", "shop").count("is stopped\n") == 2
            assert (own.wait(20), run.wait(20)) == (0, 0)
            assert "There are no clusters" in here.shows("list")
        finally:
            own.kill()
            run.kill()


def test_in_a_narrow_terminal(here: Place) -> None:
    here.shows("start", "-w", "1", "--name", "shop", "shop.py")
    for words in (["list"], ["describe", "shop"]):
        terminal = here.in_terminal(*words, columns=40)
        lines = terminal.read().splitlines()
        terminal.close()
        assert terminal.exitstatus == 0
        table = [line for line in lines if line.startswith(("NAME", "SLOT", "shop", "0"))]
        assert len(table) == 2
        assert all(len(line) <= 40 for line in table), table
    following = here.in_terminal("logs", "shop", "-f", "-n", "1")
    following.expect("\n")
    reloading = here.in_terminal("reload", "shop")
    reloading.expect("shop has been reloaded: 1 worker\r\n")
    reloading.close()
    following.expect("reloaded")
    following.close(force=True)  # the terminal goes away
    assert here.described("shop")["state"] == "running"


def test_the_log_rotates_and_a_full_disk_stops_nobody(here: Place) -> None:
    (here.folder / "talks.py").write_text(
        "import os, signal\nfor number in range(1500):\n    print(f'line {number:04}', flush=True)\nsignal.pause()\n"
    )
    here.shows("start", "--wait=0", "--log-max-size", "4K", "--log-keep", "2", "-w", "1", "--name", "shop", "talks.py")
    terminal = here.in_terminal("logs", "shop", "-f", "-n", "100000")
    terminal.expect("line 1499\r\n")
    terminal.close(force=True)
    logs = sorted(here.log.parent.glob("log*"))
    assert [one.name for one in logs] == ["log", "log.1", "log.2"]
    assert all(one.stat().st_size <= 4 * 1024 + 200 for one in logs)
    here.shows("stop", "shop")
    for one in logs:
        one.unlink()
    here.log.symlink_to("/dev/full")
    assert here.shows("start", "--wait=0", "shop").splitlines()[-1].startswith("shop is up: 1 worker")
