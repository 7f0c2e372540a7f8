"""Messages from nothing to the limit."""

from __future__ import annotations

import asyncio
import os

import pytest

from aiocluster import MessageTooLargeError
from aiocluster._wire.codec import MAX_MESSAGE
from aiocluster._wire.windows import FRAGMENT, WINDOW

from . import inside
from .party import party

OF_BYTES = 5  # what msgpack puts before more than 64 KiB of bytes


async def test_every_size_arrives_in_order() -> None:
    sizes = [
        0,
        1,
        255,
        256,
        FRAGMENT - 5,
        FRAGMENT - 4,
        FRAGMENT - 3,
        FRAGMENT,
        FRAGMENT + 1,
        2 * FRAGMENT,
        WINDOW - 1,
        WINDOW + 1,
        0,
    ]
    sizes += [3_000_000, 1, 5_000_001, 100_000, 0, 65_535, 65_536]
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.hear, ["message"])
        digests = await a._session.run(inside.send_sizes, [b.pid, sizes])
        expected = [[size, digest] for size, digest in zip(sizes, digests, strict=True)]
        assert await b._session.run(inside.heard_sizes, [len(sizes)]) == expected


async def test_the_largest_arrives_and_one_more_byte_is_too_many() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.hear, ["message"])
        (digest,) = await a._session.run(inside.send_sizes, [b.pid, [MAX_MESSAGE - OF_BYTES]])
        assert await b._session.run(inside.heard_sizes, [1]) == [[MAX_MESSAGE - OF_BYTES, digest]]
        too_large = bytes(MAX_MESSAGE - OF_BYTES + 1)
        for call in (b.send, b.request, all.primary.broadcast):
            with pytest.raises(
                MessageTooLargeError, match=f"{MAX_MESSAGE + 1} bytes packed; the limit is {MAX_MESSAGE}"
            ):
                await call(too_large)
        text = await a._session.run(inside.catch_too_large, [b.pid])
        assert text.startswith("MessageTooLargeError ")
        await a._session.run(inside.send_to, [b.pid, b"after"])
        assert (await b._session.run(inside.heard_sizes, [2]))[1][0] == len(b"after")


async def test_a_large_one_holds_up_no_small_one_to_another() -> None:
    async with party(3) as all:
        a, b, c = all.workers
        await b._session.run(inside.hear, ["message"])
        await c._session.run(inside.echo, [])
        assert await a._session.run(inside.small_overtakes_large, [b.pid, c.pid, 20_000_000])
        assert [size for size, _ in await b._session.run(inside.heard_sizes, [1])] == [20_000_000]


async def test_a_large_one_of_the_primary_holds_up_no_small_one_to_another() -> None:
    async with party(2) as all:
        a, b = all.workers
        await a._session.run(inside.hear, ["message"])
        await b._session.run(inside.echo, [])
        body = os.urandom(1000) * 20_000
        large = asyncio.ensure_future(a.send(body))
        await asyncio.sleep(0)
        assert await b.request("small") == "small"
        assert not large.done()
        await large
        assert [size for size, _ in await a._session.run(inside.heard_sizes, [1])] == [len(body)]
