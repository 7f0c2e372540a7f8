"""Apps, and what only looks like one, as tests serve them. No framework: importing one takes longer than all else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


async def answer(send: Callable[..., Any], text: str) -> None:
    body = text.encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def app(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Answers with the pid at ``/`` and with the loop's module at ``/loop``, and streams without end at ``/stream``.

    Echoes WebSocket messages. When its lifespan ends, it writes its pid to the file that ``ENDED_IN`` names.
    """
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["started"] = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        with Path(os.environ["ENDED_IN"]).open("a") as file:
            print(os.getpid(), file=file)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    elif scope["path"] == "/loop":
        await answer(send, type(asyncio.get_running_loop()).__module__.partition(".")[0])
    elif scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"more\n", "more_body": True})
            await asyncio.sleep(0.05)
    else:
        assert scope["state"]["started"]
        await answer(send, str(os.getpid()))


def create() -> Any:
    return app


class Wsgi:
    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        return []


wsgi = Wsgi()
number = 8000


async def without_database(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Fails at its startup, as Starlette's do: it says so, then raises."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "Traceback (most recent call last): …"})
    raise LookupError("no database")


async def raising_at_once(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    raise LookupError("no database")


async def that_gives_up(scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the disk is full"})


async def add(first: str, second: str, third: str) -> None:
    """Takes three arguments, as an app does."""
    Path(first).write_text(second + third)
