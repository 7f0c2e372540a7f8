"""Any event loop shares ports and hears the primary, whoever makes it, if it runs in the main thread."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

import pytest

from aiocluster import Cluster, Primary, exclusive
from aiocluster.events import Listening, Message
from tests.support.events import several
from tests.support.serving import Client, ask, in_worker, serving

from .inside_loops import (
    HOST,
    WAYS,
    a_server_in_a_thread,
    a_server_in_a_thread_whose_loop_runs_again,
    answer,
    has_forked,
    on_rloop,
    udp_on_rloop,
)

# ---- processes that a loop's process forks


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
