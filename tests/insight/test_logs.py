"""`aiocluster.logs`: the workers' log records are written by the primary."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aiocluster import Cluster, RestartPolicy
from aiocluster.logs import Handler, config
from tests.support.programs import ROOT, environment

from .inside_insight import log_when_told, log_without_end

logger = logging.getLogger("shop")


class Kept(logging.Handler):
    """Keeps records. Can be held up, like a disk."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def emit(self, record: logging.LogRecord) -> None:
        self.may_go_on.wait()
        self.records.append(record)


@contextmanager
def kept(level: int = logging.DEBUG) -> Iterator[Kept]:
    """What the logger ``shop`` of this process is given meanwhile."""
    handler = Kept()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield handler
    finally:
        handler.may_go_on.set()
        logger.setLevel(before)
        logger.removeHandler(handler)


async def test_records_arrive_as_they_were(worker_loop: Any) -> None:
    with kept() as found:
        async with Cluster(log_when_told, workers=2, loop=worker_loop) as cluster:
            pids = {worker.slot: worker.pid for worker in cluster.workers.values()}
            for worker in cluster.workers.values():
                assert await worker.request("failure") is None
    by_slot = {vars(record)["slot"]: record for record in found.records if record.levelno == logging.ERROR}
    assert {slot: record.process for slot, record in by_slot.items()} == pids
    for slot, record in by_slot.items():
        assert record.getMessage() == f"slot {slot}: 100% of 'it' failed"
        assert record.exc_text is not None
        assert record.exc_text.splitlines()[-1] == "LookupError: no such table"
        assert (record.name, record.funcName, record.filename) == ("shop", "_log", "inside_insight.py")
        assert vars(record)["agent"] is None
        assert (vars(record)["plain"], vars(record)["odd"]) == ([1, {"a": b"b"}], "{1}")
        assert vars(record)["mute"] == "Mute without repr: LookupError"
        assert logging.Formatter().format(record).endswith("LookupError: no such table")
    odd = [record.getMessage() for record in found.records if record.levelno == logging.WARNING]
    assert len(odd) == 4
    assert {text[:8] for text in odd} == {"\\udcff", "x" * 8}
    assert max(map(len, odd)) < 51_000


async def test_the_primary_decides_what_is_written() -> None:
    with kept(logging.ERROR) as found:
        async with Cluster(log_when_told, workers=1) as cluster:
            (worker,) = cluster.workers.values()
            await worker.request("failure")
    assert {record.levelno for record in found.records} == {logging.ERROR}


@pytest.mark.parametrize("ends", ["gracefully", "killed"])
async def test_nothing_is_lost_at_a_workers_end(ends: str) -> None:
    with kept() as found:
        async with Cluster(log_when_told, workers=1, restart=RestartPolicy(limit=0)) as cluster:
            (worker,) = cluster.workers.values()
            found.may_go_on.clear()
            await worker.send(ends)
            await worker.wait()
            found.may_go_on.set()
    last = ["at exit"] if ends == "gracefully" else []
    assert [record.getMessage() for record in found.records] == [*(f"line {number}" for number in range(500)), *last]


async def test_what_is_not_written_is_bounded_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with kept() as found:
        async with Cluster(log_without_end, workers=1) as cluster:
            (worker,) = cluster.workers.values()
            found.may_go_on.clear()
            waiting = cluster.primary._shared.logs._waiting
            assert await worker.request("flood") > 0  # lost
            assert waiting.qsize() * 10_000 < 1_000_000
            found.may_go_on.set()
            while not any(record.getMessage() == "the last" for record in found.records):
                await worker.request("last")
    numbers = [int(vars(record)["number"]) for record in found.records if "number" in vars(record)]
    assert numbers == list(range(len(numbers)))
    assert "log records of worker 1 (pid " in caplog.text
    assert "are missing: this process did not read them in time" in caplog.text


def test_one_configuration_serves_all_processes() -> None:
    settings = {"version": 1, "handlers": {"file": {"class": "logging.NullHandler"}}, "root": {"handlers": ["file"]}}
    assert config(settings) == settings


def test_a_process_that_is_no_worker_warns_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    handler = Handler()
    for level in (logging.INFO, logging.ERROR):
        handler.handle(logging.makeLogRecord({"msg": f"level {level}", "levelno": level}))
    assert capsys.readouterr().err == "level 40\n"


@pytest.mark.parametrize("format", ["text", "json"])
def test_the_command_writes_them(format: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "aiocluster", "run", "-w", "1", "--log-format", format]
    command += ["tests.insight.inside_insight:log_once"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=50)
    lines = [line for line in done.stderr.splitlines() if "the shop is open" in line]
    assert len(lines) == 1, done.stderr
    if format == "text":
        assert lines[0].endswith(" 0 | warning: shop: the shop is open")
        assert "\nLookupError: no such table\n" in done.stderr
    else:
        told = json.loads(lines[0])
        assert (told["slot"], told["logger"], told["level"]) == (0, "shop", "warning")
        assert told["pid"] not in (os.getpid(), None)
        assert "agent" not in told
