"""What has been sent leaves although the sender's loop is blocked: the flusher's thread looks after it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aiocluster._wire import frames as kinds
from aiocluster._wire.codec import Decoder, encode, flow_fields, pack, unpack, unpack_batch

from .ends import PATIENCE, contents, marked, socket_pair
from .parties import PEER, Party, parties


class Listener:
    """Reads the other end in a thread, so that it hears what leaves while this loop is blocked."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self.sock = sock
        self.acknowledges = False
        self.messages: list[Any] = []
        self.frames: list[int] = []  # of the flow of messages: how many messages each has
        self.others: list[int] = []
        self.marks: list[bytes] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        decoder = Decoder()
        while True:
            data, fds, _, _ = socket.recv_fds(self.sock, 65536, 10)
            if not data:
                return
            with self._more:
                self.marks += map(contents, fds)
                for kind, _, number, body in map(flow_fields, decoder.feed(data)):
                    if kind == kinds.MESSAGES:
                        self.frames.append(number)
                        self.messages += unpack_batch(body, number)
                    else:
                        self.others.append(kind)
                        self.messages.append(unpack(body))
                self._more.notify_all()
            if self.acknowledges:
                acks = {kinds.ACK: len(self.frames), kinds.REQUEST_ACK: len(self.others)}
                with contextlib.suppress(BrokenPipeError):  # the test is over
                    self.sock.sendall(b"".join(encode(kind, PEER, n, b"") for kind, n in acks.items() if n))

    def hears(self, count: int) -> list[Any]:
        """Blocks the loop until so many messages have come."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.messages) >= count, PATIENCE)
            return list(self.messages)

    def end(self) -> None:
        self._thread.join()
        self.sock.close()


def block(seconds: float) -> None:
    """Blocks the loop, as a handler that computes does."""
    time.sleep(seconds)


@contextmanager
def heard_by_thread() -> Iterator[tuple[Party, Listener]]:
    one, other = socket_pair()
    here = Party(one, "here", 2)
    here.attach()
    listener = Listener(socket.socket(fileno=other.detach()))
    try:
        yield here, listener
    finally:
        here.channel.close()
        listener.end()


async def test_a_message_leaves_while_the_loop_is_blocked() -> None:
    with heard_by_thread() as (here, listener):
        await here.conversation.send("begin")
        assert listener.hears(1) == ["begin"]
        await asyncio.sleep(0)
        await here.conversation.send("again")
        assert listener.hears(2) == ["begin", "again"]


async def test_so_do_later_ones_of_the_same_iteration() -> None:
    """They join the same batch, of which a part has left: nothing is sent twice, and nothing is forgotten."""
    with heard_by_thread() as (here, listener):
        for number in range(5):
            await here.conversation.send([number])
            await here.conversation.send([number, "too"])
            listener.hears(2 * number + 2)
        await here.conversation.send("last")
        await asyncio.sleep(0)
        assert listener.hears(11) == [*([number, *more] for number in range(5) for more in ([], ["too"])), "last"]


async def test_handles_and_requests_leave_too() -> None:
    with heard_by_thread() as (here, listener):
        here.channel.send(encode(kinds.HANDLES, PEER, 1, b"\xc0"), [fd := marked(b"mark")], lambda: None)
        await here.conversation.send("behind it")
        listener.hears(2)
        assert listener.marks == [b"mark"]
        contents(fd)
        asking = asyncio.ensure_future(here.conversation.request("?", None))
        await asyncio.sleep(0)  # it runs, and queues its frame
        assert listener.hears(3)[2] == "?"
        asking.cancel()


async def test_a_lone_request_that_finds_the_socket_full_leaves_too() -> None:
    one, other = socket_pair()
    here = Party(one, "here", 2)
    here.attach()
    with contextlib.suppress(BlockingIOError):
        while True:
            one.send(b"x" * 65536)
    asking = asyncio.ensure_future(here.conversation.request("a request", None))
    await asyncio.sleep(0)
    other.settimeout(PATIENCE)
    read = b""
    while not read.endswith(pack("a request")):  # the loop is blocked meanwhile
        read = read[-100:] + other.recv(65536)
    asking.cancel()
    await asyncio.wait([asking])
    other.close()
    here.channel.close()
    await here.conversation.end()


async def test_what_left_early_is_acknowledged_and_the_rest_returned() -> None:
    with heard_by_thread() as (here, listener):
        for text in ("a", "b"):
            await here.conversation.send(text)
        listener.hears(2)
        await here.conversation.send("c")
        listener.hears(3)
        await here.conversation.send("d")
        await asyncio.sleep(0)
        listener.hears(4)
        early = listener.frames[:-1]
        listener.sock.sendall(encode(kinds.ACK, PEER, 1, b""))  # the first of the frames it left as
        await here.until(lambda: kinds.ACK in here.kinds)
        listener.sock.shutdown(socket.SHUT_WR)
        await here.ended()
        await here.conversation.end()
        assert sum(early) >= 3  # (the thread may have seen "a" before "b" was there)
        assert here.returned == [(2, text) for text in ["a", "b", "c", "d"][early[0] :]]


async def test_a_batch_that_has_left_wholly_is_acknowledged_like_any_other() -> None:
    """The window is free again, whether parts of a batch left early or not."""
    async with parties() as (here, there):
        for number in range(20):
            await here.conversation.send(number)
            block(0.012)  # longer than the flusher waits
            await there.hears(number + 1)
        await there.conversation.send("hello")
        await here.hears(1)
        await here.until(lambda: here.conversation.send_window._cost == 0)
        assert not here.conversation.send_window._under_way


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_the_thread_interrupts_all_arrives_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns after almost every instruction
    try:
        with heard_by_thread() as (here, listener):
            listener.acknowledges = True
            sent = 0
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                for _ in range(chance.choice([1, 2, 50])):
                    message = [sent, "x" * chance.choice([0, 10, 3000])]
                    if chance.randrange(5):
                        await here.conversation.send(message)
                        sent += 1
                    elif here.conversation._put(kinds.REQUEST, sent, pack(message), is_alone=chance.random() < 0.8):
                        sent += 1
                    if not chance.randrange(40):
                        block(0.004)
                await asyncio.sleep(0)
            listener.hears(sent)
        assert [number for number, _ in listener.messages] == list(range(sent))
        assert here.ends == []
    finally:
        sys.setswitchinterval(interval)


async def test_a_full_socket_is_no_reason_to_keep_the_processor_busy() -> None:
    one, other = socket_pair()
    here = Party(one, "here", 2)
    here.attach()
    try:
        for _ in range(15):
            await here.conversation.send("x" * 30_000)
        await asyncio.sleep(0.1)
        before = one.sends
        await asyncio.sleep(0.5)
        assert one.sends - before < 25  # a look at it every 50 ms
    finally:
        other.close()
        here.channel.close()
        await here.conversation.end()


async def test_nothing_is_looked_at_when_nothing_is_queued() -> None:
    async with parties() as (here, there):
        await here.conversation.send("x")
        await there.hears(1)
        while here.channel.is_looked_after or there.channel.is_looked_after:
            await asyncio.sleep(0.005)
        assert here.channel.flush_in_thread() is None
