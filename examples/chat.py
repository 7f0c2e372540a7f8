"""A WebSocket chat over all workers.

The chat has rooms, and needs no broker. A room is a topic: each client has a subscription to it, and what a client says
is published. So it reaches the clients of all workers. It needs fastapi.

    $ pip install "aiocluster[web]" fastapi
    $ python chat.py

It listens on ``$PORT``, by default 8000, until Ctrl-C. Open http://127.0.0.1:8000 in several windows, or
http://127.0.0.1:8000/?room=garden for another room. Each window shows which worker serves it.

``aiocluster run chat:app --workers 4`` serves the same without ``main``. With ``AIOCLUSTER_BACKPLANE=redis://…`` and
``AIOCLUSTER_FLEET=chat``, or ``Cluster(…, backplane=…, fleet=…)``, it is one chat over all machines that run it so.
"""

import asyncio
import contextlib
import os

from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse

from aiocluster import BackplaneError, Cluster, current_worker
from aiocluster.integrations.asgi import AsgiApp

HOST = os.environ.get("HOST", "127.0.0.1")
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
  const socket = new WebSocket(`ws://${location.host}/chat${location.search}`)
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


app = FastAPI()


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@app.websocket("/chat")
async def chat(socket: WebSocket) -> None:
    worker = current_worker()
    topic = f"chat/{socket.query_params.get('room', 'lobby')}"
    await socket.accept()
    # A client that reads too slowly for its room misses lines; nobody waits for it.
    async with worker.subscribe(topic, on_full="drop_oldest") as lines:

        async def write() -> None:
            async for line in lines:
                await socket.send_json(line)

        await socket.send_json({"welcome": True, "worker": worker.id})
        writing = asyncio.create_task(write())
        try:
            async for text in socket.iter_text():
                with contextlib.suppress(BackplaneError):  # the other machines can't be reached; those here heard it
                    await worker.publish(topic, {"worker": worker.id, "text": text})
        finally:
            writing.cancel()
            await asyncio.wait([writing])


async def main() -> None:
    options = {"ws": "websockets-sansio", "log_level": "warning"}
    target = AsgiApp("chat:app", bind=[f"{HOST}:{PORT}"], uvicorn=options)
    async with Cluster(target, workers=WORKERS) as cluster:
        await cluster.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
