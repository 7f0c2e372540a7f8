"""A WebSocket chat over four workers, without a broker.

A worker uses ``broadcast`` to send each line to the clients of the other workers. Without this, clients of different
processes do not see each other's lines, for example with FastAPI in several processes. Seed 001 is about processes that
talk to each other.

It needs fastapi and the extra ``web`` (uvicorn and websockets). ``aiocluster run chat:app --workers 4`` serves the same
without `main`. Open http://127.0.0.1:8000 (or ``$PORT``) in several windows. Each window
shows which worker serves it.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse

from aiocluster import Cluster, current_worker
from aiocluster.events import Message
from aiocluster.integrations.asgi import AsgiApp

PORT = int(os.environ.get("PORT", "8000"))
WORKERS = 4

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<style>
  body { font: 1rem/1.5 system-ui; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
  #lines { list-style: none; padding: 0 } small { color: gray } input { width: 100%; font: inherit; padding: .4rem }
</style>
<h1>Chat <small id="worker"></small></h1>
<ul id="lines"></ul>
<form><input autofocus autocomplete="off" placeholder="Say something"></form>
<script>
  const socket = new WebSocket(`ws://${location.host}/chat`)
  const input = document.querySelector("input")
  socket.onmessage = (event) => {
    const line = JSON.parse(event.data)
    if (line.welcome) { document.querySelector("#worker").textContent = `served by worker ${line.worker}`; return }
    const item = document.createElement("li")
    const from = document.createElement("small")
    from.textContent = ` worker ${line.worker}`
    item.append(line.text, from)
    document.querySelector("#lines").append(item)
  }
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault()
    socket.send(input.value)
    input.value = ""
  }
</script>
"""


class Room:
    """The clients of this worker. Each has its own queue, so a slow client does not delay the others."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Any]] = set()

    @contextlib.contextmanager
    def joined(self, queue: asyncio.Queue[Any]) -> Iterator[None]:
        """Puts each line into the queue until the client leaves."""
        self._queues.add(queue)
        try:
            yield
        finally:
            self._queues.discard(queue)

    def tell_here(self, line: Any) -> None:
        """To the clients of this worker. A client that is a hundred lines behind does not get this one."""
        for queue in self._queues:
            if not queue.full():
                queue.put_nowait(line)

    async def tell_all(self, line: Any) -> None:
        """To the clients of all workers."""
        self.tell_here(line)
        await current_worker().broadcast(line)


room = Room()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    @current_worker().on("message")
    def said_elsewhere(event: Message) -> None:
        room.tell_here(event.message)

    yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@app.websocket("/chat")
async def chat(socket: WebSocket) -> None:
    worker = current_worker().id
    queue: asyncio.Queue[Any] = asyncio.Queue(100)

    async def write() -> None:
        while True:
            await socket.send_json(await queue.get())

    await socket.accept()
    with room.joined(queue):
        await socket.send_json({"welcome": True, "worker": worker})
        writing = asyncio.create_task(write())
        try:
            while True:
                await room.tell_all({"worker": worker, "text": await socket.receive_text()})
        except WebSocketDisconnect:
            pass
        finally:
            writing.cancel()
            await asyncio.wait([writing])


async def main() -> None:
    options = {"ws": "websockets-sansio", "log_level": "warning"}
    target = AsgiApp("chat:app", bind=[f"127.0.0.1:{PORT}"], uvicorn=options)
    async with Cluster(target, workers=WORKERS) as cluster:
        await cluster.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
