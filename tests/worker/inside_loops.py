"""What runs in the workers of `test_loops`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

from aiocluster import current_worker

HOST = "127.0.0.1"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers HTTP requests with the pid."""
    while await reader.readline():
        while await reader.readline() not in (b"\r\n", b""):
            pass
        body = b"%d" % os.getpid()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()


async def serve() -> None:
    server = await asyncio.start_server(answer, HOST, 0)
    assert type(server).__name__ == "ClusterServer"
    await current_worker().send("serving")
    await server.serve_forever()


def forked(run: Callable[[], object]) -> None:
    """Runs a function in a process that `os.fork` makes of this one, and waits until that has ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads
        pid = os.fork()
    if pid == 0:
        try:
            run()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


async def has_forked() -> None:
    """Forks while it still has to tell that its loop runs, and later; children execute a program, or run a loop."""
    worker = current_worker()

    def run_a_loop() -> None:
        asyncio.run(asyncio.sleep(0))
        os._exit(0)

    for _ in range(2):
        forked(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]))
        forked(run_a_loop)
        await worker.request("alive?")
    await worker.send("alive")
    await asyncio.Event().wait()


class OwnLoop(asyncio.SelectorEventLoop):
    """A loop class of the application's, which adds to a method."""

    async def create_server(self, *args: Any, **options: Any) -> Any:
        options.setdefault("backlog", 7)
        return await super().create_server(*args, **options)


def on_a_loop_of_ones_own() -> None:
    with asyncio.Runner(loop_factory=OwnLoop) as runner:
        runner.run(serve())


def on_rloop() -> None:
    rloop = importlib.import_module("rloop")

    with asyncio.Runner(loop_factory=rloop.new_event_loop) as runner:
        runner.run(serve())


def after_a_library_has_started_a_loop_in_a_thread() -> None:
    started = threading.Event()
    loop = asyncio.new_event_loop()
    loop.call_soon(started.set)
    threading.Thread(target=loop.run_forever, daemon=True).start()
    started.wait()
    asyncio.run(serve())


def after_a_closed_loop_was_asked_to_run() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with contextlib.suppress(RuntimeError):
        loop.run_forever()
        raise AssertionError("it ran")
    asyncio.run(serve())


def after_another_loop() -> None:
    asyncio.run(asyncio.sleep(0))
    loop = asyncio.new_event_loop()
    for _ in range(2):
        loop.run_until_complete(asyncio.sleep(0))
    try:
        loop.run_until_complete(serve())
    except asyncio.CancelledError:
        pass
    finally:
        loop.close()


def with_a_run_inside_another() -> None:
    """As libraries do that run a coroutine to its end wherever they are called."""

    async def outer() -> None:
        loop = asyncio.events._get_running_loop()
        asyncio.events._set_running_loop(None)
        asyncio.run(current_worker().send("inside"))
        asyncio.events._set_running_loop(loop)
        await serve()

    asyncio.run(outer())


def with_methods_replaced_later() -> None:
    """As nest_asyncio does, whose loops run by a method of its own."""

    def run_forever(self: Any) -> None:
        asyncio.events._set_running_loop(self)
        self._thread_id = threading.get_ident()
        try:
            while not self._stopping:
                self._run_once()
        finally:
            self._stopping, self._thread_id = False, None
            asyncio.events._set_running_loop(None)

    asyncio.SelectorEventLoop.run_forever = run_forever  # type: ignore[method-assign]
    asyncio.run(serve())


WAYS: list[Callable[[], None]] = [
    on_a_loop_of_ones_own,
    on_rloop,
    after_a_library_has_started_a_loop_in_a_thread,
    after_a_closed_loop_was_asked_to_run,
    after_another_loop,
    with_a_run_inside_another,
    with_methods_replaced_later,
]


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.transport.sendto(data, address)


def udp_on_rloop() -> None:
    rloop = importlib.import_module("rloop")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=(HOST, 0))
        ends = asyncio.Event()
        current_worker().on("message", lambda event: ends.set())
        await ends.wait()
        transport.close()
        await current_worker().send("closed")
        await asyncio.sleep(60)

    with asyncio.Runner(loop_factory=rloop.new_event_loop) as runner:
        runner.run(main())


def a_server_in_a_thread() -> None:
    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    threading.Event().wait()


def a_server_in_a_thread_whose_loop_runs_again() -> None:
    """As in programs that start a server of aiosmtpd's and wait for a signal."""

    def run() -> None:
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(answer, HOST, 0))
        loop.run_until_complete(current_worker().send("serving"))
        try:
            loop.run_forever()
        finally:
            server.close()
            loop.run_until_complete(server.wait_closed())
            loop.close()

    threading.Thread(target=run, daemon=True).start()
    threading.Event().wait()
