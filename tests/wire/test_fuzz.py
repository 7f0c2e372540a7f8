"""Hostile bytes at either end of a conversation: ProtocolError ends that channel, and nothing else comes of them.

No other exception escapes (an event loop's handler would hear of it), no descriptor stays open (every test is held to
that), and the conversation next door goes on.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aiocluster._wire import frames as kinds
from aiocluster._wire.codec import encode, pack
from aiocluster._wire.windows import FRAGMENT
from aiocluster.errors import ChannelClosedError, ProtocolError, RemoteError

from .ends import PATIENCE, marked
from .parties import PEER, Party, parties

fuzzing = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

MESSAGES_OF_A_PEER = st.sampled_from([*kinds.FLOW, 0, -1, 12, 20, 48, 255, 2**64 - 1])
SHORT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.binary(max_size=9)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | SHORT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
PACKABLE = ANYTHING.map(pack)
BODIES = st.one_of(
    PACKABLE,
    st.lists(PACKABLE, max_size=3).map(b"".join),
    st.lists(ANYTHING, min_size=3, max_size=3).map(pack),
    st.binary(max_size=50),
    st.just(b"x" * FRAGMENT),
)
FRAMES = st.one_of(
    st.tuples(MESSAGES_OF_A_PEER, st.just(PEER), st.integers(-3, 5), BODIES),
    st.tuples(MESSAGES_OF_A_PEER, ANYTHING, ANYTHING, ANYTHING),
    st.lists(ANYTHING, max_size=5),
)


async def serve(message: Any, sender: int) -> Any:
    if message == "raise":
        raise ValueError("as asked for")
    await asyncio.sleep(0)
    return message


@contextmanager
def no_bug_of_ours() -> Iterator[None]:
    """What is refused, is refused by the check: no handler of ours may fail over a peer's frame."""
    failures: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = failures.append  # type: ignore[assignment,method-assign]
    logger = logging.getLogger("aiocluster.channel")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in failures if record.exc_info] == []


@asynccontextmanager
async def attacked() -> AsyncIterator[tuple[socket.socket, Party]]:
    """The attacker's end, which writes what it likes, and a party that has traffic of its own under way.

    At the end it is checked that the party was ended by ProtocolError or by the attacker's end only, and that no
    exception escaped into the loop.
    """
    escaped: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: escaped.append(context))
    with no_bug_of_ours():
        async with parties() as (attacker, party), parties() as (neighbour, other):
            attacker.channel.detach()
            attacker.sock.setblocking(False)
            party.requests.handler = other.requests.handler = serve
            await party.conversation.send({"some": "thing"})
            request = asyncio.ensure_future(party.conversation.request("anyone?", None))
            await asyncio.sleep(0)

            yield attacker.sock, party

            attacker.channel.close()
            error = await party.ended()
            assert error is None or type(error) is ProtocolError
            assert len(party.ends) == 1
            assert party.channel.is_closed
            await party.conversation.end()
            answer = (await asyncio.gather(request, return_exceptions=True))[0]
            assert not isinstance(answer, BaseException) or isinstance(answer, (ChannelClosedError, RemoteError))
            assert await neighbour.conversation.request("still there?", PATIENCE) == "still there?"
    assert escaped == []


async def throw(sock: socket.socket, party: Party, data: bytes) -> None:
    """Writes these bytes; what comes back is read and forgotten. Returns when they have been read, or never will be."""
    view = memoryview(data)
    while view and not party.ends:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            pass
        except OSError:
            return
        try:
            while sock.recv(1 << 20):
                pass
        except OSError:
            pass
        await asyncio.sleep(0)


@given(st.binary(max_size=500))
@example(b"")
@example(b"\x00\x00\x00\x00")
@example(b"\x00\x00\x00\x01\xc1")
@fuzzing
async def test_random_bytes(data: bytes) -> None:
    async with attacked() as (sock, party):
        await throw(sock, party, data)


@given(st.lists(FRAMES, max_size=6))
@example([(kinds.FAILURE, PEER, 1, pack(1))])
@example([(kinds.FAILURE, PEER, 1, pack([1, 2, 3]))])
@example([(kinds.FAILURE, PEER, 1, pack([[], {}, None]))])
@example([(kinds.ACK, PEER, 2**63, b"")])
@example([(kinds.MESSAGES, PEER, -1, b"")])
@example([(kinds.MESSAGES, PEER, 0, b"")])
@example([(kinds.HANDLES, PEER, 1, pack(1))])
@example([(kinds.HANDLES, PEER, -1, b"\xc1")])
@example([(kinds.CALL, PEER, 1, pack(1))])
@example([(kinds.REQUEST, PEER, 1, pack("raise")), (kinds.REQUEST, PEER, 1, pack(1)), (kinds.CANCEL, PEER, 1, b"")])
@example([(kinds.FRAGMENT, PEER, 0, b"x" * FRAGMENT)] * 3 + [(kinds.REPLY, PEER, 1, b"")])
@fuzzing
async def test_frames_of_all_kinds_with_any_fields(frames: list[tuple[Any, ...]]) -> None:
    async with attacked() as (sock, party):
        await throw(sock, party, b"".join(encode(*frame) for frame in frames))


GOOD = [
    encode(kinds.MESSAGES, PEER, 2, pack("a") + pack({"b": [1.5, None]})),
    encode(kinds.REQUEST, PEER, 1, pack({"key": b"value"})),
    encode(kinds.CANCEL, PEER, 1, b""),
    encode(kinds.REPLY, PEER, 1, pack("here")),
    encode(kinds.FAILURE, PEER, 1, pack(["ValueError", "text", "trace"])),
    encode(kinds.ACK, PEER, 1, b""),
    encode(kinds.FRAGMENT, PEER, 0, b"\xc4\x02"),
    encode(kinds.MESSAGES, PEER, 1, b"ab"),
    encode(kinds.LOST, PEER, 1, b""),
    encode(kinds.DISCARD, PEER, 0, b""),
    encode(kinds.HANDLES, PEER, 0, pack("none")),
]


@given(
    st.lists(st.sampled_from(GOOD), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6),
    st.integers(0, 40),
)
@fuzzing
async def test_mutated_and_truncated_frames(frames: list[bytes], changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(b"".join(frames))
    for place, byte in changes:
        data[place % len(data)] = byte
    async with attacked() as (sock, party):
        await throw(sock, party, bytes(data[: len(data) - cut] if cut < 20 else data))


THINGS = ("socket", "pipe", "file")


def descriptor(thing: str) -> int:
    if thing == "socket":
        one, other = socket.socketpair()
        other.close()
        return one.detach()
    return marked(b"x") if thing == "pipe" else os.open(os.devnull, os.O_RDONLY)


@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.tuples(st.integers(-3, 4), BODIES).map(lambda it: encode(kinds.HANDLES, PEER, *it)),
                st.sampled_from(GOOD),
                FRAMES.map(lambda frame: encode(*frame)),
                st.binary(min_size=1, max_size=20),
            ),
            st.lists(st.sampled_from(THINGS), max_size=3),
            st.integers(0, 30),
        ),
        max_size=5,
    )
)
@example([(encode(kinds.HANDLES, PEER, 1, b"\xc1"), ["socket"], 0)])
@example([(encode(kinds.HANDLES, PEER, 2, pack(1)), ["socket", "pipe"], 0)])
@example([(encode(kinds.HANDLES, PEER, 2, pack(1)), ["socket"], 0)])
@example([(encode(kinds.HANDLES, PEER, 1, pack(1)), ["socket", "socket"], 3)])
@example([(b"\x00", ["socket"], 0), (b"\x00", ["socket"], 0)])
@fuzzing
async def test_descriptors_where_they_do_not_belong(plan: list[tuple[bytes, list[str], int]]) -> None:
    """Each piece is written in two halves, the second with the descriptors."""
    async with attacked() as (sock, party):
        for data, things, cut in plan:
            await throw(sock, party, data[:cut])
            fds = [descriptor(thing) for thing in things]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                if data[cut:]:
                    sock.sendmsg([data[cut:]], rights)
            except OSError:
                pass
            finally:
                for fd in fds:
                    os.close(fd)
            await asyncio.sleep(0)


@given(st.binary(max_size=300), st.lists(FRAMES, max_size=3))
@fuzzing
async def test_both_ends_at_once(noise: bytes, frames: list[tuple[Any, ...]]) -> None:
    """Two parties that talk to each other, and whose socket somebody else writes into as well."""
    escaped: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: escaped.append(context))
    async with parties() as (one, other):
        one.requests.handler = other.requests.handler = serve
        requests = [
            asyncio.ensure_future(party.conversation.request(["some", "thing"], None)) for party in (one, other)
        ]
        await asyncio.sleep(0)
        for party in (one, other):
            try:
                party.sock.send(b"".join(encode(*frame) for frame in frames) + noise)
            except OSError:
                pass  # the first one's was enough
        for _ in range(5):
            await asyncio.sleep(0)
        one.channel.close()
        other.channel.close()
        for party in (one, other):
            assert all(error is None or type(error) is ProtocolError for error in party.ends)
            await party.conversation.end()
        await asyncio.wait(requests)
        for request in requests:
            request.exception()
    assert escaped == []
