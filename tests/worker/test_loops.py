"""Any event loop shares ports and hears the primary, whoever makes it, if it runs in the main thread."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, Literal

import pytest

from aiocluster import Cluster, Primary, current_worker, exclusive
from aiocluster.events import Listening, Message
from tests.support.events import several
from tests.support.serving import Client, ask, in_worker, serving

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


# ---- processes that a loop's process forks


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


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_forked_children_do_not_touch_the_loop_and_the_channel(
    loop: Literal["asyncio", "uvloop"], caplog: pytest.LogCaptureFixture
) -> None:
    async with Primary(has_forked, loop=loop) as primary, several(primary, "message", "exit") as heard:
        primary.handle_requests(lambda message, sender: "alive")
        worker = await primary.fork()
        event = await anext(heard)
        assert isinstance(event, Message), event
        assert event.message == "alive"
        assert worker.state == "online"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# ---- the main thread's loop, of any class and history


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
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()
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


@pytest.mark.parametrize("way", WAYS)
async def test_the_main_threads_loop_shares_ports_and_hears_the_primary(way: Callable[[], None]) -> None:
    if way is on_rloop:
        pytest.importorskip("rloop")
    cluster = Cluster(way, workers=2)
    said: list[Any] = []
    cluster.on("message", lambda event: said.append(event.message))
    async with serving(cluster, 2) as address:
        answers = [await ask(address) for _ in range(4)]
        workers = list(cluster.workers.values())
        assert sorted(answers) == sorted([worker.pid for worker in workers] * 2)
        client = await Client.connect(address)  # kept open: a graceful stop waits for it
        pid = await client.ask()
        stopping = asyncio.ensure_future(cluster.stop())
        while not any(worker.state == "disconnecting" for worker in workers):
            await asyncio.sleep(0.001)
        assert await client.ask() == pid
        await client.close()
        await stopping
        assert [worker.exited_after_disconnect for worker in workers] == [True, True]
        assert {worker.exit_code for worker in workers} == {0}
    assert said.count("serving") == 2


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


async def test_udp_on_a_loop_that_takes_descriptors_out_of_sockets() -> None:
    pytest.importorskip("rloop")
    async with Primary(udp_on_rloop) as primary, several(primary, "listening", "message") as heard:
        worker = await primary.fork()
        event: Listening | Message = await anext(heard)
        assert isinstance(event, Listening)
        loop = asyncio.get_running_loop()
        got: asyncio.Future[bytes] = loop.create_future()

        class Asking(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, address: Any) -> None:
                got.set_result(data)

        transport, _ = await loop.create_datagram_endpoint(Asking, remote_addr=(HOST, event.address.port))
        transport.sendto(b"hello")
        assert await got == b"hello"
        transport.close()
        await worker.send("end")
        assert (await anext(heard)).message == "closed"


# ---- other threads


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


@pytest.mark.parametrize("target", [a_server_in_a_thread, a_server_in_a_thread_whose_loop_runs_again])
async def test_a_server_in_a_thread_is_shared_where_the_main_thread_has_no_loop(target: Callable[[], None]) -> None:
    cluster = Cluster(target, workers=2)
    async with serving(cluster, 2) as address:
        workers = list(cluster.workers.values())
        answers = [await ask(address) for _ in range(4)]
        assert sorted(answers) == sorted([worker.pid for worker in workers] * 2)
        client = await Client.connect(address)
        pid = await client.ask()
        stopping = asyncio.ensure_future(cluster.stop())
        while not any(worker.state == "disconnecting" for worker in workers):
            await asyncio.sleep(0.001)
        assert await client.ask() == pid
        await client.close()
        await stopping
        assert [worker.exited_after_disconnect for worker in workers] == [True, True]


@in_worker
async def test_beside_the_main_threads_loop_a_server_in_a_thread_is_not_shared_and_the_log_says_so() -> None:
    records: list[logging.LogRecord] = []

    class Recording(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logging.getLogger("aiocluster").addHandler(Recording())

    async def listen() -> str:
        async with await asyncio.start_server(answer, HOST, 0) as server:
            return type(server).__name__

    def quietly() -> str:
        with exclusive():
            return asyncio.run(listen())

    assert await asyncio.to_thread(quietly) == "Server"
    assert records == []
    assert await asyncio.to_thread(lambda: asyncio.run(listen())) == "Server"
    (record,) = records
    assert "binds in this process alone" in record.getMessage()


# ---- what can't be hooked

REFUSED = """
import asyncio
from aiocluster._worker.listening import loops

loops.install({"create_server": lambda original: original})

class Fixed(type):
    def __setattr__(cls, name, value):
        raise TypeError("cannot set an attribute of an immutable type")

class Loop(metaclass=Fixed):
    async def create_server(self): ...

asyncio.events._set_running_loop(Loop())
"""


def test_a_class_whose_methods_cant_be_replaced_is_refused_in_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "RuntimeError: aiocluster: the event loop __main__.Loop can't share ports: its methods can't be replaced"
    )
