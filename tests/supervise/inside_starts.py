"""What runs in the workers of `test_starts`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import sys

from aiocluster import current_worker


async def stay() -> None:
    await asyncio.Event().wait()


def return_at_once() -> None:
    pass


def exit_with(code: str) -> None:
    sys.exit(int(code))


async def lack_a_module_when_told() -> None:
    await current_worker().wait_for("message")
    await lack_a_module()


async def lack_a_module() -> None:
    import there_is_no_such_module  # type: ignore[import-not-found]  # noqa: F401


async def listen_elsewhere_if_in_use(port: str) -> None:
    try:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", int(port))
    except OSError:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        await server.serve_forever()
