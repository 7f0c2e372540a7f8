"""The program that `test_signals` runs and signals. Its argument is the function to run. What happens, it prints."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from aiocluster import Cluster, Primary, RestartPolicy, current_worker

PORT = int(os.environ.get("PORT", "0"))
LOOP: Any = os.environ.get("LOOP", "asyncio")
SLOW = float(os.environ.get("SLOW", "0"))
has_been_asked: list[bool] = []


def say(*words: object) -> None:
    """Prints a line in one piece, although many processes print."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


if __name__ == "__mp_main__" and SLOW:
    say("importing", os.getpid())
    time.sleep(SLOW)


# ---- targets


async def idle() -> None:
    await asyncio.Event().wait()


async def slow_answers() -> None:
    """Answers two seconds after a request has come."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        say("asked", os.getpid())
        has_been_asked.append(True)
        await asyncio.sleep(2)
        writer.write(b"done")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    say("listens", *server.sockets[0].getsockname())
    await server.serve_forever()


def uvicorn_app() -> None:
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        say("asked", os.getpid())
        await asyncio.sleep(2)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})

    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="error", lifespan="off")


def aiohttp_app() -> None:
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        say("asked", os.getpid())
        await asyncio.sleep(2)
        return web.Response(text="done")

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    web.run_app(app, host="127.0.0.1", port=PORT, print=None)


async def fails_later() -> None:
    """The first worker answers; the other one fails once that has been asked."""
    worker = current_worker()
    if worker.id > 1:
        async for _ in worker.messages():
            os._exit(3)
    server = asyncio.ensure_future(slow_answers())
    while not (has_been_asked and worker.peers):  # a broadcast reaches those that are online
        await asyncio.sleep(0.01)
    await worker.broadcast("asked")
    await server


def names_signals_it_ignores() -> None:
    import subprocess

    say("ignored:", subprocess.check_output(["grep", "SigIgn", "/proc/self/status"], text=True).split()[1])
    time.sleep(60)


# ---- primaries


async def serves(target: Callable[[], Any] = idle, **settings: Any) -> None:
    cluster = Cluster(target, **{"workers": 2, **settings})
    cluster.on("fork", lambda event: say("fork", event.worker.id))
    cluster.on("exit", lambda event: say("exit", event.worker.id, event.code, event.signal and event.signal.name))
    cluster.on("listening", lambda event: say("address", event.address.host, event.address.port))
    try:
        async with cluster:
            say("up", len(cluster.workers))
            await cluster.serve_forever()
            say("served", len(cluster.workers))
    except asyncio.CancelledError:
        say("cancelled")
        raise
    finally:
        say("left")


async def serves_slow_answers() -> None:
    await serves(slow_answers)


async def serves_uvicorn() -> None:
    await serves(uvicorn_app)


async def serves_aiohttp() -> None:
    await serves(aiohttp_app)


async def serves_names() -> None:
    await serves(names_signals_it_ignores, workers=1)


async def gives_up() -> None:
    await serves(fails_later, restart=RestartPolicy(limit=0))


async def only_waits() -> None:
    """Does not call serve_forever()."""
    async with Cluster(idle, workers=1):
        say("up")
        try:
            await asyncio.Event().wait()
        finally:
            say("leaving")
    say("left")  # not reached


async def has_handlers_of_its_own() -> None:
    loop = asyncio.get_running_loop()
    heard = asyncio.Queue[str]()
    loop.add_signal_handler(signal.SIGHUP, lambda: heard.put_nowait("loop"))
    signal.signal(signal.SIGTERM, lambda number, frame: heard.put_nowait("python"))
    loop.add_signal_handler(signal.SIGUSR1, lambda: heard.put_nowait("other"))
    cluster = Cluster(idle, workers=1)
    async with cluster:
        forked = asyncio.ensure_future(cluster.wait_for("fork"))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        await forked
        os.kill(os.getpid(), signal.SIGUSR1)
        say("inside:", await heard.get())
        loop.add_signal_handler(signal.SIGUSR2, lambda: heard.put_nowait("added"))  # takes the wakeup descriptor
        os.kill(os.getpid(), signal.SIGUSR2)
        say("inside:", await heard.get())
        forked = asyncio.ensure_future(cluster.wait_for("fork"))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        await forked
        loop.remove_signal_handler(signal.SIGUSR2)
        while not heard.empty():  # the loop has heard it, too, because it had the descriptor
            heard.get_nowait()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        os.kill(os.getpid(), number)
        say("outside:", await heard.get())


async def two_clusters() -> None:
    async with Cluster(idle, workers=1) as one, Cluster(idle, workers=1) as other:
        say("up")
        await asyncio.gather(one.serve_forever(), other.serve_forever())
        say("served", len(one.workers), len(other.workers))
    say("left")


async def one_of_two_serves() -> None:
    async with Cluster(idle, workers=1) as one, Cluster(idle, workers=1):
        say("up")
        await one.serve_forever()
        say("served")
    say("left")


def in_a_thread() -> None:
    import threading

    async def serve() -> None:
        async with Cluster(idle, workers=1) as cluster:
            asyncio.get_running_loop().call_later(0.5, lambda: asyncio.ensure_future(cluster.stop()))
            await cluster.serve_forever()

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    thread.join()
    say("left", signal.getsignal(signal.SIGTERM) == before)


async def one_after_the_other() -> None:
    async with Cluster(idle, workers=1):
        pass
    say("left", signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.set_wakeup_fd(-1))


def under_anyio() -> None:
    import anyio

    anyio.run(serves)


async def terminates_a_fork() -> None:
    """Has a process forked beside it, and terminates that."""
    import multiprocessing

    async with Cluster(idle, workers=1) as cluster:
        serving = asyncio.create_task(cluster.serve_forever())
        say("ended", await fork_and_terminate(multiprocessing.get_context("fork")))
        await asyncio.sleep(0.5)
        say("serving", not serving.done(), len(cluster.workers))
        await cluster.stop()
        await serving


async def a_worker_terminates_a_fork() -> None:
    async with Primary(
        terminates_a_fork_and_returns, loop="uvloop" if os.environ["LOOP"] == "uvloop" else "asyncio"
    ) as primary:
        await (await primary.fork()).wait()


async def terminates_a_fork_and_returns() -> None:
    import multiprocessing

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: say("the worker hears SIGTERM"))
    say("ended", await fork_and_terminate(multiprocessing.get_context("fork")))
    await asyncio.sleep(0.5)
    say("serving", True, 1)


async def fork_and_terminate(context: Any) -> set[int]:
    ends = set()
    for _ in range(10):  # at any point of its start
        process = context.Process(target=time.sleep, args=[60])
        process.start()
        await asyncio.sleep(0)
        process.terminate()
        await asyncio.to_thread(process.join, 10)
        ends.add(process.exitcode)
        process.kill()
    return ends


async def forks_again() -> None:
    """As Node's programs do."""
    cluster = Cluster(idle, workers=1)

    async def again(event: Any) -> None:
        await cluster.primary.fork()

    cluster.on("exit", again)
    async with cluster:
        say("up")
        await cluster.serve_forever()
    async with Primary(idle) as primary:
        primary.on("exit", lambda event: primary.fork())
        await primary.fork()
    say("left")


async def leaves_orphans() -> None:
    await serves(start_orphans, workers=1, start_method=os.environ.get("METHOD", "spawn"))


async def start_orphans() -> None:
    import subprocess

    subprocess.run(["sh", "-c", "sleep 0.1 & sleep 0.1 & (setsid sh -c 'sleep 0.3 & sleep 0.1'; true) &"], check=True)
    await idle()


if __name__ == "__main__":
    mode = globals()[sys.argv[1]]
    if not asyncio.iscoroutinefunction(mode):
        mode()
    elif LOOP == "uvloop":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(mode())
    else:
        asyncio.run(mode())
