"""`aiocluster top`: in a real terminal, through textual's pilot, and as JSON; each against real clusters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static, Tabs

from aiocluster._cli.monitor.app import Top
from tests.support.background import Place, place
from tests.support.serving import EXAMPLES

WITHOUT = (
    "import sys; sys.modules['rich'] = sys.modules['textual'] = None\n"
    "from aiocluster.__main__ import main; sys.argv[0] = 'aiocluster'; main()"
)


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    """Two clusters, ``api`` and ``shop``."""
    with place() as one:
        (one.folder / "shop.py").write_text((EXAMPLES / "asyncio_app.py").read_text())
        for name in ("api", "shop"):
            one.shows("start", "-w", "1", "--name", name, "shop.py", PORT="0")
        yield one


def without_textual(here: Place, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs the command where neither textual nor rich is installed."""
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", WITHOUT, *words],
        cwd=here.folder,
        env=here.env,
        capture_output=True,
        text=True,
    )


def test_json_needs_nothing_else(here: Place) -> None:
    done = without_textual(here, "top", "shop", "--json", "--interval", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    (worker,) = found["workers"]
    assert (found["name"], found["state"], worker["slot"]) == ("shop", "running", 0)
    assert worker["cpu"] >= 0
    assert found["totals"]["memory"] >= worker["memory"] > 0
    assert found["totals"]["connections_per_second"] == 0
    every = without_textual(here, "top", "--json", "--interval", "0.1")
    assert [one["name"] for one in json.loads(every.stdout)] == ["api", "shop"]


def test_what_is_missing_is_said_in_one_line(here: Place) -> None:
    done = without_textual(here, "top", "shop")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "aiocluster: top needs textual: pip install aiocluster[top], or use --json\n"
    done = here.run("top", "shp")
    assert (done.returncode, done.stderr) == (2, "aiocluster: there is no cluster 'shp'; did you mean 'shop'?\n")
    done = here.run("top", "shop")
    assert (done.returncode, done.stderr) == (
        2,
        "aiocluster: top needs a terminal; for scripts there is aiocluster top --json\n",
    )


def test_in_a_terminal(here: Place) -> None:
    terminal = here.in_terminal("top", "shop", columns=40)
    terminal.expect("listening")
    terminal.setwinsize(12, 100)
    terminal.expect("RESTARTS")
    terminal.send("q")
    assert "Traceback" not in terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0

    terminal = here.in_terminal("top")
    terminal.expect("listening")
    terminal.kill(signal.SIGTERM)
    assert "Traceback" not in terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0

    terminal = here.in_terminal("top")
    terminal.expect("listening")
    process = psutil.Process(terminal.pid)
    terminal.ptyproc.fileobj.close()  # the terminal goes away
    terminal.closed = terminal.ptyproc.closed = True
    assert process.wait(20) == -signal.SIGHUP


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    while not condition():
        await pilot.pause(0.01)


def said(app: Top, what: str = "said") -> str:
    return str(app.query_one(f"#{what}", Static).content)


def rows(app: Top) -> list[list[str]]:
    table: DataTable[Any] = app.query_one("#workers", DataTable)
    return [[str(cell) for cell in table.get_row(key)] for key in table.rows]


def pids(app: Top) -> list[str]:
    return [row[1] for row in rows(app)]


async def test_the_keys(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in here.env.items():
        monkeypatch.setenv(name, value)
    pid = here.described("shop")["workers"][0]["pid"]
    app = Top("shop", 0.1)
    async with app.run_test(size=(110, 24)) as pilot:
        await until(pilot, lambda: pids(app) == [str(pid)])
        assert said(app, "head").startswith("shop running · shop.py · 1 worker · 127.0.0.1:")
        await pilot.press("+")
        await until(pilot, lambda: len(rows(app)) == 2 and said(app) == "shop has 2 workers")
        before = pids(app)
        await pilot.press("r")
        await until(pilot, lambda: said(app) == "shop has been reloaded" and len(rows(app)) == 2)
        await until(pilot, lambda: not set(before) & set(pids(app)))
        await pilot.press("-")
        await until(pilot, lambda: len(rows(app)) == 1 and said(app) == "shop has 1 worker")

        (before_it,) = pids(app)
        await pilot.press("w", "n", "w", "y")
        await until(pilot, lambda: pids(app) and before_it not in pids(app))
        await until(pilot, lambda: rows(app)[0][2] == "listening")

        await pilot.resize_terminal(40, 12)
        await until(pilot, lambda: len(rows(app)[0]) < 6)
        table: DataTable[Any] = app.query_one("#workers", DataTable)
        assert sum(column.get_render_width(table) for column in table.columns.values()) <= 40

        await pilot.press("tab")
        await until(pilot, lambda: said(app, "head").startswith("api running"))
        await pilot.press("s", "n")
        await pilot.press("s", "y")
        await until(pilot, lambda: said(app, "head").startswith("api stopped"))
        await until(pilot, lambda: rows(app) == [] and said(app).startswith("api "))
        assert app.query_one("#clusters", Tabs).tab_count == 2
        await pilot.press("r")
        await until(pilot, lambda: said(app) == "not done: api does not run")

        await pilot.press("shift+tab")
        await until(pilot, lambda: said(app, "head").startswith("shop running"))
        os.kill(here.described("shop")["pid"], signal.SIGKILL)
        await until(pilot, lambda: said(app) == "shop has died")
        assert said(app, "head").startswith("shop died")
        await pilot.press("q")
    assert app.return_code == 0
