"""What Node's own tests of `cluster` show of workers' lives, where no other test does.

See docs/reference/parity_tests.md.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiocluster import Primary, current_worker
from aiocluster.events import Disconnect, Error, Event, Exit, Fork, Listening, Message, Online, Setup
from tests.support.serving import ask

from .inside_cluster_behaviour import (
    echo,
    fail_to_listen,
    idle,
    leave_when_told,
    listen_and_exit,
    say_whether_connected,
    serve,
    serve_if_told,
    serve_twice,
    spin,
    tell_cwd,
    tell_interpreter,
)

# ---- targets


async def send_a_connection_twice() -> None:
    worker = current_worker()
    ours, theirs = socket.socketpair()
    with theirs:
        await worker.send("first", [ours], keep_open=True)
        await worker.send("second", [ours])
        with pytest.raises(ValueError, match="closed"):
            await worker.send("third", [ours])


async def lead() -> None:
    """A primary itself, whose worker says what its primary is."""
    async with Primary(f"{__name__}:tell_primary") as primary, primary.events("message") as heard:
        worker = await primary.fork()
        await current_worker().send((await anext(heard)).message)
        await worker.wait_gone()


async def tell_primary() -> None:
    await current_worker().send(current_worker().primary_pid)


# ---- its life, event by event


async def test_the_state_at_each_event() -> None:
    seen: list[tuple[type[Event], str]] = []
    async with Primary(serve) as primary:
        for name in ("fork", "online", "listening", "disconnect", "exit"):
            primary.on(name, lambda event: seen.append((type(event), event.worker.state)))
        worker = await primary.fork()
        assert worker.id == 1
        assert not worker.is_dead()
        listening: Listening = await worker.wait_for("listening")
        assert (listening.address.family, listening.address.host) == ("tcp4", "127.0.0.1")
        worker.kill()
        await worker.wait_gone()
    assert seen[:3] == [(Fork, "starting"), (Online, "online"), (Listening, "listening")]
    assert set(seen[3:]) <= {(Disconnect, "disconnected"), (Disconnect, "dead"), (Exit, "dead")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_it_is_out_of_the_table_before_its_last_event(number: signal.Signals) -> None:
    async with Primary(serve) as primary:
        worker = await primary.fork()
        there: list[bool] = []
        for name in ("disconnect", "exit"):
            primary.on(name, lambda event: there.append(event.worker.id in primary.workers))
        await worker.wait_for("listening")
        worker.kill(number)
        await worker.wait_gone()
    assert there == [True, False]


@pytest.mark.parametrize(
    ("target", "kill", "end"),
    [
        (listen_and_exit, None, (42, None)),
        (serve, signal.SIGTERM, (None, signal.SIGTERM)),
        (serve, signal.SIGKILL, (None, signal.SIGKILL)),
    ],
)
async def test_an_end_is_told_once(target: Any, kill: signal.Signals | None, end: Any) -> None:
    async with Primary(target, args=["42"] if kill is None else []) as primary:
        of_all: Counter[str] = Counter()
        of_one: Counter[str] = Counter()
        worker = await primary.fork()
        for name in ("disconnect", "exit"):
            primary.on(name, lambda event: of_all.update([event.name]))
            worker.on(name, lambda event: of_one.update([event.name]))
        await worker.wait_for("listening")
        if kill is not None:
            worker.kill(kill)
        exit = await worker.wait()
        await worker.wait_gone()
        assert (exit.code, exit.signal) == (worker.exit_code, worker.exit_signal) == end
        assert worker.exited_after_disconnect is False
        assert not psutil.pid_exists(worker.pid)
        assert worker.id not in primary.workers
    assert of_all == of_one == {"disconnect": 1, "exit": 1}


async def test_a_worker_that_never_sleeps_is_killed_all_the_same() -> None:
    async with Primary(spin) as primary:
        worker = await primary.fork()
        await worker.wait_for("online")
        worker.kill()
        assert await worker.wait() == Exit(worker, None, signal.SIGTERM, "killed")


async def test_is_connected_on_both_sides() -> None:
    async with Primary(say_whether_connected) as primary, primary.events("message") as heard:
        connected: list[bool] = []
        worker = await primary.fork()
        worker.on("disconnect", lambda event: connected.append(worker.is_connected()))
        assert worker.is_connected()
        assert (await anext(heard)).message is True
        await worker.wait_gone()
        assert connected == [False]


async def test_a_worker_may_be_a_primary_itself() -> None:
    async with Primary(lead) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        assert (await anext(heard)).message == worker.pid
        assert (await worker.wait()).code == 0


# ---- leaving


async def test_disconnect_with_no_workers() -> None:
    async with Primary(idle) as primary:
        await primary.disconnect()
        assert not primary.workers


async def test_workers_that_serve_nothing_leave() -> None:
    async with Primary(idle) as primary:
        workers = [await primary.fork() for _ in range(2)]
        await primary.disconnect()
        assert not primary.workers
        assert [worker.exited_after_disconnect for worker in workers] == [True, True]


async def test_one_that_left_by_itself_may_still_be_killed() -> None:
    async with Primary(leave_when_told) as primary:
        worker = await primary.fork()
        worker.on("disconnect", lambda event: worker.kill())
        await worker.send("leave")
        await worker.wait_gone()
        assert worker.exited_after_disconnect is True


async def test_one_is_told_to_leave_and_then_all_are() -> None:
    async with Primary(idle) as primary:
        worker = await primary.fork()
        await worker._session.wait_ready()
        first = asyncio.ensure_future(worker.disconnect())
        await worker.wait_for("disconnect")
        await primary.disconnect()
        await first
        assert (worker.exit_code, worker.exited_after_disconnect) == (0, True)


@pytest.mark.parametrize("scheduling", ["round_robin", "shared", "reuse_port"])
async def test_all_are_told_to_leave_right_after_the_fork(scheduling: str) -> None:
    async with Primary(serve, scheduling=scheduling) as primary:
        ends: Counter[str] = Counter()
        for name in ("disconnect", "exit"):
            primary.on(name, lambda event: ends.update([event.name]))
        worker = await primary.fork()
        await primary.disconnect()
        assert ends == {"disconnect": 1, "exit": 1}
        assert worker.exited_after_disconnect


@pytest.mark.parametrize("scheduling", ["round_robin", "shared", "reuse_port"])
async def test_one_leaves_while_another_one_starts(scheduling: str) -> None:
    async with Primary(serve, scheduling=scheduling) as primary:
        first = await primary.fork()
        await first.wait_for("listening")
        second = await primary.fork()
        first_leaves = asyncio.ensure_future(first.disconnect())
        await second.wait_for("online")
        await asyncio.gather(first_leaves, second.disconnect())
        assert first.exit_code == 0
        assert second.exited_after_disconnect


@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("scheduling", ["round_robin", "shared"])
async def test_one_without_a_port_leaves_while_another_one_has_one(kind: str, scheduling: str) -> None:
    async with Primary(serve_if_told, scheduling=scheduling) as primary:
        without = await primary.fork()
        await without.wait_for("online")
        serving = await primary.fork({"SERVE": kind})
        await serving.wait_for("listening")
        await without.disconnect()
        assert without.exited_after_disconnect
        assert serving.is_connected()
        await primary.disconnect()
        assert serving.exited_after_disconnect


async def test_many_leave_at_once_while_they_are_written_to() -> None:
    async with Primary(leave_when_told) as primary:
        workers = [await primary.fork() for _ in range(4)]
        for worker in workers:
            worker.on("disconnect", lambda event: primary.broadcast("leave"))
        await asyncio.gather(*(worker.wait_for("online") for worker in workers))
        await primary.broadcast("leave")
        await asyncio.gather(*(worker.wait_gone() for worker in workers))
        assert [(worker.exit_code, worker.exit_signal) for worker in workers] == [(0, None)] * 4


async def test_after_disconnect_it_starts_again_from_nothing() -> None:
    async with Primary(serve_twice) as primary, primary.events("listening") as heard:
        for _ in range(2):
            workers = [await primary.fork() for _ in range(3)]
            addresses = {(await anext(heard)).address for _ in range(6)}
            assert len(addresses) == 2
            for address in addresses:
                assert await ask(address) in {worker.pid for worker in workers}
            await primary.disconnect()
            assert not primary.workers
            for address in addresses:
                with pytest.raises(ConnectionRefusedError):
                    await ask(address)


@pytest.mark.parametrize("scheduling", ["round_robin", "shared", "reuse_port"])
async def test_one_that_cannot_listen_leaves_and_raises(scheduling: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = str(occupied.getsockname()[1])
        async with Primary(fail_to_listen, scheduling=scheduling) as primary, primary.events("error") as heard:
            worker = await primary.fork({"PORT": port})
            await worker.wait_gone()
            error: Error = await anext(heard)
            assert "address already in use" in str(error.error)
            assert (worker.exit_code, worker.exited_after_disconnect) == (1, True)


# ---- settings


async def test_the_working_directory_is_the_primarys_until_setup_names_another(tmp_path: Path) -> None:
    async with Primary(tell_cwd) as primary, primary.events("message") as heard:
        assert primary.settings.cwd is None
        await primary.fork()
        assert (await anext(heard)).message == os.getcwd()
        primary.setup(cwd=tmp_path)
        assert primary.settings.cwd == tmp_path
        await primary.fork()
        assert (await anext(heard)).message == str(tmp_path)


async def test_the_interpreter_can_be_chosen(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nINTERPRETER=mine exec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    async with Primary(tell_interpreter, executable=interpreter) as primary, primary.events("message") as heard:
        await primary.fork()
        assert (await anext(heard)).message == "mine"


async def test_each_setup_is_told_later_even_one_that_changes_nothing() -> None:
    async with Primary(idle) as primary:
        told: list[Setup] = []
        primary.on("setup", told.append)
        primary.setup(args=["a"])
        primary.setup(silent=True)
        primary.setup()
        assert told == []
        while len(told) < 3:
            await asyncio.sleep(0)
        assert [(event.settings.args, event.settings.silent) for event in told] == [
            (("a",), False),
            (("a",), True),
            (("a",), True),
        ]
        assert told[-1].settings == primary.settings


# ---- messages and sockets


async def test_a_message_that_looks_like_one_of_the_channels_own_is_a_message() -> None:
    strange = [{"cmd": "NODE_CLUSTER", "ack": -1}, [1, os.getpid(), 1, b""], [41], [250]]
    async with Primary(echo) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        for message in strange:
            await worker.send(message)
            assert (await anext(heard)).message == message
        await worker.disconnect()
        assert worker.exit_code == 0


async def test_sockets_go_both_ways_at_once() -> None:
    async with Primary(echo) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        pairs = [socket.socketpair() for _ in range(50)]

        async def send_all() -> None:
            for number, (ours, _) in enumerate(pairs):
                await worker.send(number, [ours])

        sending = asyncio.ensure_future(send_all())
        for number, (_, theirs) in enumerate(pairs):
            event: Message = await anext(heard)
            (back,) = event.handles
            with back, theirs:
                assert event.message == number
                back.send(b"%d" % number)
                assert theirs.recv(100) == b"%d" % number
        await sending


async def test_a_connection_is_sent_twice_only_if_it_is_kept_open() -> None:
    async with Primary(send_a_connection_twice) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        for text in ("first", "second"):
            event: Message = await anext(heard)
            assert event.message == text
            for handle in event.handles:
                handle.close()
        assert (await worker.wait()).code == 0
