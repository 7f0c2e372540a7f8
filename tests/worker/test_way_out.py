"""What a worker still does when it is to end: by being told, by SIGTERM, late, and without an event loop."""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Primary, WorkerProcess, current_worker
from aiocluster.events import Exit, Reason
from aiocluster.settings import Loop

TERM = signal.SIGTERM

# ---- targets, each of which notes its steps in a file


def note(step: str) -> None:
    with open(os.environ["STEPS"], "a") as file:
        file.write(f"{step}\n")


def steps(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def until(path: Path, step: str) -> None:
    """Returns when that step has been noted."""
    while step not in steps(path):
        await asyncio.sleep(0.01)


def noting(run: Callable[[], Any]) -> None:
    """Runs a server, and what follows it in its program."""
    atexit.register(note, "atexit")
    try:
        run()
        note("after")
    finally:
        note("finally")


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "lifespan"
    assert (await receive())["type"] == "lifespan.startup"
    asyncio.get_running_loop().call_later(0.1, note, "running")
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    note("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


def uvicorn_run(path: str) -> None:
    import uvicorn

    noting(lambda: uvicorn.run(app, host="127.0.0.1", port=0, log_level="warning"))


def uvicorn_serve(path: str) -> None:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    noting(lambda: asyncio.run(server.serve()))


def uvicorn_of_earlier(path: str) -> None:
    """Up to 0.28 it used `loop.add_signal_handler`, and raised nothing again."""
    import uvicorn

    class Server(uvicorn.Server):
        def capture_signals(self) -> Any:
            import contextlib

            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            return contextlib.nullcontext()

    noting(Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")).run)


def hypercorn_serve(path: str) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    noting(lambda: asyncio.run(serve(app, config)))


def aiohttp_run_app(path: str) -> None:
    from aiohttp import web

    async def lifespan(application: web.Application) -> Any:
        asyncio.get_running_loop().call_later(0.1, note, "running")
        yield
        note("shutdown")

    application = web.Application()
    application.cleanup_ctx.append(lifespan)
    noting(lambda: web.run_app(application, host="127.0.0.1", port=0, print=None))


def exits_by_its_handler(path: str) -> None:
    async def run() -> None:
        signal.signal(TERM, lambda number, frame: sys.exit(0))
        note("running")
        try:
            await asyncio.Event().wait()
        finally:
            note("shutdown")

    try:
        noting(lambda: asyncio.run(run()))
    finally:
        note("after")


SERVERS = [
    uvicorn_run,
    uvicorn_serve,
    uvicorn_of_earlier,
    hypercorn_serve,
    aiohttp_run_app,
    exits_by_its_handler,
]


async def only_notes_sigterm(path: str) -> None:
    signal.signal(TERM, lambda number, frame: note("noted"))
    note("running")
    try:
        await asyncio.Event().wait()
    finally:
        note("finally")


def without_a_loop(path: str) -> None:
    def run() -> None:
        note("running")
        time.sleep(600)

    noting(run)


def after_its_loop(path: str) -> None:
    asyncio.run(asyncio.sleep(0))
    without_a_loop(path)


async def forever(path: str) -> None:
    note("running")
    try:
        await asyncio.Event().wait()
    finally:
        note("finally")


async def blocked(path: str) -> None:
    await current_worker().send("its loop runs")
    asyncio.get_running_loop().call_later(0.1, note, "running")
    asyncio.get_running_loop().call_later(0.1, time.sleep, 600)
    await asyncio.Event().wait()


def loops_one_after_the_other(path: str) -> None:
    async def run() -> None:
        note("running")
        try:
            await asyncio.Event().wait()
        finally:
            note("finally")

    for _ in range(2):
        try:
            asyncio.run(run())
        except asyncio.CancelledError:
            note("cancelled")


def cleans_up_in_a_loop_of_its_own(path: str) -> None:
    async def clean_up() -> None:
        await asyncio.sleep(0.3)
        note("cleaned up")

    try:
        asyncio.run(forever(path))
    finally:
        asyncio.run(clean_up())


def is_told_between_its_loops(path: str) -> None:
    asyncio.run(asyncio.sleep(0))
    try:
        note("running")
        time.sleep(600)
    except SystemExit:
        note("not yet")

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            note("finally")

    asyncio.run(run())


def with_a_pool(path: str) -> None:
    async def run() -> None:
        with ProcessPoolExecutor(2) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, os.getpid)
            note("running")
            await asyncio.Event().wait()

    noting(lambda: asyncio.run(run()))


def with_a_thread_that_does_not_end(path: str) -> None:
    threading.Thread(target=time.sleep, args=(600,)).start()
    asyncio.run(forever(path))


def terminates_a_forked_child(path: str) -> None:
    async def run() -> None:
        child = multiprocessing.get_context("fork").Process(target=without_a_loop, args=(path,))
        child.start()
        await until(Path(path), "running")
        child.terminate()
        await asyncio.to_thread(child.join)
        note(f"child {child.exitcode}")

    asyncio.run(run())


def does_not_start(path: str) -> None:
    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        note("running")
        try:
            await asyncio.Event().wait()
        finally:
            note("finally")

    import uvicorn

    uvicorn.run(hangs, host="127.0.0.1", port=0, log_level="warning")


# ---- tests


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
        "import sys, time\nfrom tests.worker.test_way_out import note\ndef serve(): pass\n"
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


async def leaves() -> None:
    await current_worker().disconnect()
    await asyncio.Event().wait()
