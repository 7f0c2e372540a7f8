"""A script that calls uvicorn.run, on all cores.

The script has no code for aiocluster: it is what you would run with ``python uvicorn_app.py``. The command runs it in
four workers, which share its port. Each answer is the pid of the worker that has answered. It needs uvicorn.

    $ pip install "aiocluster[web]"
    $ aiocluster run -w 4 uvicorn_app.py

It listens on ``$PORT``, by default 8000, until Ctrl-C. In another terminal:

    $ curl http://127.0.0.1:8000
    4711

The command can also serve the app itself, without the lines at the script's end: ``aiocluster run -w 4
uvicorn_app:app``.
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
