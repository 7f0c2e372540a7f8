"""What a worker still does when it is to end: by being told, by SIGTERM, late, and without an event loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Primary, WorkerProcess
from aiocluster.events import Exit, Reason
from aiocluster.settings import Loop

from .inside_way_out import (
    SERVERS,
    TERM,
    after_its_loop,
    blocked,
    cleans_up_in_a_loop_of_its_own,
    does_not_start,
    forever,
    is_told_between_its_loops,
    leaves,
    loops_one_after_the_other,
    only_notes_sigterm,
    steps,
    terminates_a_forked_child,
    until,
    uvicorn_run,
    uvicorn_serve,
    with_a_pool,
    with_a_thread_that_does_not_end,
    without_a_loop,
)

Kill = Callable[[WorkerProcess], None]


def by_the_primary(worker: WorkerProcess) -> None:
    worker.kill()


def by_somebody_else(worker: WorkerProcess) -> None:
    os.kill(worker.pid, TERM)


async def end_of(
    target: Any, path: Path, *, kill: Kill | None = None, timeout: float = 20.0, **settings: Any
) -> tuple[int | None, int | None, Reason]:
    """How a worker ends that is told to leave, or killed, once it runs."""
    async with Primary(target, args=[str(path)], env={"STEPS": str(path)}, **settings) as primary:
        worker = await primary.fork()
        await until(path, "running")
        if kill is not None:
            kill(worker)
        else:
            await worker.disconnect(timeout=timeout)
        exit: Exit = await worker.wait()
        return exit.code, exit.signal, exit.reason


@pytest.mark.parametrize("target", SERVERS)
async def test_a_server_that_is_told_to_leave_ends_in_order(target: Any, tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert await end_of(target, path) == (0, None, "told")
    assert sorted(steps(path)) == ["after", "atexit", "finally", "running", "shutdown"]
    assert steps(path)[-1] == "atexit"


async def test_a_handler_of_sigterm_that_stops_nothing(tmp_path: Path, worker_loop: Loop) -> None:
    path = tmp_path / "steps"
    assert await end_of(only_notes_sigterm, path, timeout=0.5, loop=worker_loop) == (0, None, "told")
    assert list(dict.fromkeys(steps(path))) == ["running", "noted", "finally"]  # noted again if its time is up by then


@pytest.mark.parametrize("target", [without_a_loop, after_its_loop])
async def test_one_without_a_loop(target: Any, tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert await end_of(target, path) == (0, None, "told")
    assert steps(path) == ["running", "finally", "atexit"]


@pytest.mark.parametrize("target", [without_a_loop, after_its_loop])
async def test_one_without_a_loop_that_somebody_kills(target: Any, tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert await end_of(target, path, kill=by_somebody_else) == (None, TERM, "killed")
    assert steps(path) == ["running", "finally"]


@pytest.mark.parametrize("target", [forever, blocked, without_a_loop])
async def test_the_primary_kills_at_once(target: Any, tmp_path: Path, worker_loop: Loop) -> None:
    path = tmp_path / "steps"
    assert await end_of(target, path, kill=by_the_primary, loop=worker_loop) == (None, TERM, "killed")


async def test_somebody_kills_one_that_runs_a_loop(tmp_path: Path, worker_loop: Loop) -> None:
    path = tmp_path / "steps"
    assert await end_of(forever, path, kill=by_somebody_else, loop=worker_loop) == (None, TERM, "killed")


@pytest.mark.parametrize("target", [uvicorn_run, uvicorn_serve])
@pytest.mark.parametrize("kill", [by_the_primary, by_somebody_else])
async def test_a_killed_server_ends_by_the_signal_once_it_has_shut_down(
    target: Any, kill: Kill, tmp_path: Path
) -> None:
    path = tmp_path / "steps"
    assert await end_of(target, path, kill=kill) == (None, TERM, "killed")
    assert steps(path)[:2] == ["running", "shutdown"]


async def test_one_whose_loop_is_blocked_ends_late(tmp_path: Path, worker_loop: Loop) -> None:
    path = tmp_path / "steps"
    began = time.monotonic()
    assert await end_of(blocked, path, timeout=0.2, loop=worker_loop) == (None, TERM, "late")
    assert time.monotonic() - began < 15


async def test_the_next_loop_may_clean_up(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert await end_of(cleans_up_in_a_loop_of_its_own, path) == (0, None, "told")
    assert steps(path) == ["running", "finally", "cleaned up"]


async def test_the_next_loop_has_the_time_that_is_left(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert await end_of(loops_one_after_the_other, path, timeout=0.5) == (0, None, "told")
    assert steps(path) == ["running", "finally", "cancelled"] * 2


async def test_the_next_loop_hears_what_came_before_it(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert await end_of(is_told_between_its_loops, path) == (0, None, "told")
    assert steps(path) == ["running", "not yet", "finally"]


async def test_one_that_is_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "steps"
    (tmp_path / "imports_slowly_of_test.py").write_text(
        "import sys, time\nfrom tests.worker.inside_way_out import note\ndef serve(): pass\n"
        "try:\n    note('running')\n    time.sleep(600)\nfinally:\n    note('finally')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert await end_of("imports_slowly_of_test:serve", path) == (0, None, "told")
    assert steps(path) == ["running", "finally"]


async def test_a_server_that_is_starting(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert await end_of(does_not_start, path, timeout=0.5) == (0, None, "told")
    assert steps(path) == ["running", "finally"]


async def test_a_process_pool(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    assert await end_of(with_a_pool, path) == (0, None, "told")
    assert steps(path) == ["running", "finally", "atexit"]


async def test_a_thread_that_does_not_end(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    began = time.monotonic()
    assert await end_of(with_a_thread_that_does_not_end, path, timeout=0.3) == (None, TERM, "late")
    assert steps(path) == ["running", "finally"]
    assert time.monotonic() - began < 15


async def test_a_child_that_a_worker_forks_ends_by_sigterm(tmp_path: Path) -> None:
    path = tmp_path / "steps"
    async with Primary(terminates_a_forked_child, args=[str(path)], env={"STEPS": str(path)}) as primary:
        worker = await primary.fork()
        exit = await worker.wait()
        assert (exit.code, exit.reason) == (0, "returned")
    assert steps(path) == ["running", "child -15"]


async def test_one_that_leaves_of_its_own_accord(tmp_path: Path) -> None:
    async with Primary(leaves) as primary:
        worker = await primary.fork()
        exit = await worker.wait()
        assert (exit.code, exit.reason) == (0, "own")
