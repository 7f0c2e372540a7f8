"""A worker that keeps to no limit is dropped alone, and the primary's memory stays bounded."""

from __future__ import annotations

import asyncio
import gc
import signal
import struct
from typing import Any

import psutil
import pytest

from aiocluster import WorkerProcess
from aiocluster._wire import frames as kinds
from aiocluster._wire.codec import MAX_FRAME_OF_PEER, encode, pack
from aiocluster._wire.windows import FRAGMENT
from aiocluster.errors import ProtocolError

from . import inside
from .party import Party, is_stopped, party

MEGABYTE = 1_000_000


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


async def is_dropped(all: Party, hostile: WorkerProcess, text: str) -> None:
    """The primary drops it, says why, and all others go on."""
    (error,) = await all.hears("error", 1)
    assert error.worker is hostile
    assert isinstance(error.error, ProtocolError)
    assert text in str(error.error)
    assert (await hostile.wait()).signal == signal.SIGKILL
    assert [one for one in all.workers if one.is_dead()] == [hostile]


@pytest.mark.parametrize("kind", [kinds.MESSAGES, kinds.REQUEST, kinds.ACK, kinds.CANCEL])
async def test_one_that_floods_a_stopped_worker(kind: int) -> None:
    async with party(3) as all:
        hostile, stopped, other = all.workers
        await other._session.run(inside.answer, [])
        stopped.kill(signal.SIGSTOP)
        await is_stopped(stopped)
        before = resident()
        body = pack("x" * 30_000) if kind in (kinds.MESSAGES, kinds.REQUEST) else b""
        frame = encode(kind, stopped.pid, 1, body)
        flood = asyncio.ensure_future(hostile._session.run(inside.write_without_end, [frame]))
        await is_dropped(all, hostile, f"bytes wait for pid {stopped.pid}: more than the windows allow")
        assert resident() - before < 30 * MEGABYTE
        await asyncio.wait([flood])
        assert await other.request("?") == ["?", other._session.shared.router._own_pid]
        stopped.kill(signal.SIGCONT)


async def test_one_that_floods_a_primary_that_is_slow() -> None:
    """What waits for a handler that does not end is bounded, though the sender does not keep to its window."""
    async with party(2) as all:
        hostile, _ = all.workers

        async def never(*args: Any) -> None:
            await asyncio.get_running_loop().create_future()

        all.primary.on("message", never)
        before = resident()
        frame = encode(kinds.MESSAGES, hostile._session.shared.router._own_pid, 1, pack("x" * 30_000))
        flood = asyncio.ensure_future(hostile._session.run(inside.write_without_end, [frame]))
        await is_dropped(all, hostile, "bytes are not acknowledged: more than the window allows")
        assert resident() - before < 30 * MEGABYTE
        await asyncio.wait([flood])


async def test_one_that_asks_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiocluster._wire.conversation._MOST_SERVED", 1_000_000)
    async with party(2) as all:
        hostile, _ = all.workers

        async def never(message: Any, sender: int) -> None:
            await asyncio.get_running_loop().create_future()

        all.primary.handle_requests(never)
        flood = asyncio.ensure_future(hostile._session.run(inside.ask_without_end, [30_000]))
        await is_dropped(all, hostile, "more")  # than can be served, or than the window allows: whatever comes first
        await asyncio.wait([flood])


NESTED = b"\x90"
for _ in range(500):
    NESTED = b"\x91" + NESTED

FRAMES: dict[str, tuple[bytes, str]] = {
    "longer than any frame of a worker": (
        struct.pack(">I", MAX_FRAME_OF_PEER + 1),
        f"a frame of {MAX_FRAME_OF_PEER + 1} bytes is over the limit of {MAX_FRAME_OF_PEER}",
    ),
    "a million empty maps": (
        struct.pack(">I", 8_000_008) + b"\x92\x32\xdd" + struct.pack(">I", 8_000_000) + b"\x80" * 8_000_000,
        "is over the limit",
    ),
    "as many maps as fit": (
        struct.pack(">I", 250_007) + b"\x92\x32\xdd" + struct.pack(">I", 250_000) + b"\x80" * 250_000,
        "",
    ),
    "nested without end": (struct.pack(">I", len(NESTED)) + NESTED, ""),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_one_that_sends_frames_that_are_small_only_while_packed(name: str) -> None:
    frame, text = FRAMES[name]
    async with party(2) as all:
        before = resident()
        writing = asyncio.ensure_future(all.workers[0]._session.run(inside.write, [frame]))
        await is_dropped(all, all.workers[0], text)
        await asyncio.wait([writing])
        assert resident() - before < 40 * MEGABYTE


async def test_one_that_sends_a_message_that_is_small_only_while_packed() -> None:
    """Two million dicts as one message to the primary, in fragments as any long one."""
    body = b"\xdd" + struct.pack(">I", 2_000_000) + b"\x80" * 2_000_000
    fragments = [body[start : start + FRAGMENT] for start in range(0, len(body), FRAGMENT)]
    async with party(2) as all:
        own_pid = all.workers[0]._session.shared.router._own_pid
        frames: list[bytes] = [encode(kinds.FRAGMENT, own_pid, 0, fragment) for fragment in fragments[:-1]]
        frames.append(encode(kinds.MESSAGES, own_pid, 1, fragments[-1]))
        before = resident()
        writing = asyncio.ensure_future(all.workers[0]._session.run(inside.write, [b"".join(frames)]))
        await is_dropped(all, all.workers[0], "more lists and dicts than the limit")
        await asyncio.wait([writing])
        assert resident() - before < 30 * MEGABYTE


async def test_what_it_tells_of_its_failure_is_bounded() -> None:
    async with party(1) as all:
        failing: Any = asyncio.ensure_future(all.workers[0]._session.run(inside.fail_with_much_text, []))
        (error,) = await all.hears("error", 1)
        assert len(str(error.error)) < 40_000
        await asyncio.wait([failing])
