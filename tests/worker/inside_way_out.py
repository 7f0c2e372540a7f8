"""What runs in the workers of `test_way_out`. Each notes its steps in a file."""

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

from aiocluster import current_worker

TERM = signal.SIGTERM


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


async def leaves() -> None:
    await current_worker().disconnect()
    await asyncio.Event().wait()
