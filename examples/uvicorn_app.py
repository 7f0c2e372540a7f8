"""An ASGI application for uvicorn without any code for aiocluster. It listens on ``$PORT``, by default 8000.

``python -m aiocluster run -w 4 examples/uvicorn_app.py`` runs it in four workers that share the port.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

PORT = int(os.environ.get("PORT", "8000"))


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Answers each request with this process's pid."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])  # tells uvicorn that there is no lifespan
    body = f"{os.getpid()}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run("uvicorn_app:app", host="127.0.0.1", port=PORT)
