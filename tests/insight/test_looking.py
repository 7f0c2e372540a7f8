"""`aiocluster tasks`, `stacks` and `profile`, with a cluster in the background."""

from __future__ import annotations

import json
import os
import re
import signal
import xml.etree.ElementTree
from collections.abc import Iterator

import pytest

from tests.support.background import Place, place

PROGRAM = """
import asyncio
import time


def quote(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    waiting = asyncio.create_task(asyncio.Event().wait(), name="for ever\\x1b[2J")
    while True:
        quote(0.25)
        await asyncio.sleep(0.01)
"""


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    """A cluster ``shop`` of two workers, whose loops are blocked most of the time."""
    with place() as one:
        (one.folder / "shop.py").write_text(PROGRAM)
        one.shows("start", "-w", "2", "--name", "shop", "--slow-loop", "0.1", "shop:main")
        yield one


@pytest.mark.timeout(180)
def test_tasks_and_stacks(here: Place) -> None:
    text = here.shows("tasks", "shop", "1")
    assert text.startswith("worker 1 (pid ")
    assert "    for ever?[2J: Event.wait, waits in Event.wait (asyncio/locks.py:" in text
    assert "Task-1" in text
    found = json.loads(here.shows("tasks", "shop", "--json"))
    assert [worker["slot"] for worker in found] == [0, 1]
    found = json.loads(here.shows("stacks", "shop", "0", "--json"))
    assert (found["slot"], found["threads"][0]["name"]) == (0, "MainThread")
    text = here.shows("stacks", "shop")
    assert text.count("    thread MainThread (") == 2
    assert text.count("    task for ever?[2J: Event.wait\n        Event.wait (asyncio/locks.py:") == 2


@pytest.mark.timeout(180)
def test_a_profile_is_a_flame_graph(here: Place) -> None:
    text = here.shows("profile", "shop", "0", "--seconds", "1")
    assert text.splitlines()[0].split() == ["ITSELF", "WITH", "CALLS", "FUNCTION", "WHERE"]
    assert text.splitlines()[1].split()[-2:] == ["quote", "shop.py:6"]
    assert text.endswith("written: shop-0.svg\nwritten: shop-0.speedscope.json\n")
    graph = xml.etree.ElementTree.parse(here.folder / "shop-0.svg")
    titles = [title.text or "" for title in graph.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("quote (shop.py:6): ") for title in titles)
    saved = json.loads((here.folder / "shop-0.speedscope.json").read_text())
    assert saved["$schema"] == "https://www.speedscope.app/file-format-schema.json"

    document = json.loads(here.shows("profile", "shop", "--seconds", "0.5", "--json", "-o", "both.svg"))
    (profile,) = document["profiles"]
    roots = {document["shared"]["frames"][stack[0]]["name"].partition(" (")[0] for stack in profile["samples"]}
    assert roots == {"worker 0", "worker 1"}
    assert sum(profile["weights"]) == profile["endValue"] > 0
    assert (here.folder / "both.svg").exists()


@pytest.mark.timeout(180)
def test_who_is_slow_is_shown(here: Place) -> None:
    for command in (("describe", "shop", "--json"), ("top", "shop", "--json", "--interval", "0.1")):
        for worker in json.loads(here.shows(*command))["workers"]:
            assert worker["slow"] > 0
            assert worker["last_slow"]["where"] == "shop.py:8 in quote" or "shop.py:9" in worker["last_slow"]["where"]
    assert "× shop.py:" in here.shows("describe", "shop")
    assert re.search(r"has had its event loop blocked for 0\.\d\d s, at shop\.py:", here.log.read_text())


@pytest.mark.timeout(180)
def test_nonsense_gets_one_line(here: Place) -> None:
    done = here.run("tasks", "shop", "7")
    assert (done.returncode, done.stderr) == (2, "aiocluster: shop has no worker in slot 7: there are 0, 1\n")
    done = here.run("stacks", "shp")
    assert (done.returncode, done.stderr) == (2, "aiocluster: there is no cluster 'shp'; did you mean 'shop'?\n")
    (stopped,) = (worker["pid"] for worker in here.described("shop")["workers"] if worker["slot"] == 0)
    os.kill(stopped, signal.SIGSTOP)
    done = here.run("tasks", "shop")
    os.kill(stopped, signal.SIGCONT)
    assert done.returncode == 1
    assert f"worker 0 (pid {stopped})\n    it does not answer: it is stopped, or" in done.stdout
    assert "worker 1 (pid " in done.stdout
    done = here.run("profile", "shop", "0", "-o", "x.png")
    assert done.returncode == 2
    assert "x.png is neither .svg (a flame graph) nor .json" in done.stderr
