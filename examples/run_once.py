"""A scheduled job that runs once in the cluster.

A timer in a worker fires in each worker. This one is in an agent, of which there is never more than one, even during a
reload. The agent sends each result to all workers. A worker can ask the agent, by its name, for the last result and for
an extra run.

    $ python run_once.py
    run 1, by 4712

It listens on ``$PORT``, by default 8000, until Ctrl-C. Every worker knows the last run:

    $ curl http://127.0.0.1:8000
    worker 4714: run 7
    $ curl http://127.0.0.1:8000/now
    worker 4715: run 7
"""

import asyncio
import os
from typing import Any

from aiocluster import Cluster, current_worker
from aiocluster.events import Message

PORT = int(os.environ.get("PORT", "8000"))
INTERVAL = float(os.environ.get("INTERVAL", "1.0"))  # seconds
WORKERS = 4


async def clock() -> None:
    """The agent: does the job at each interval, and when a worker asks for it."""
    agent = current_worker()
    asked = asyncio.Event()
    agent.on("message", lambda event: asked.set())
    agent.handle_requests(lambda question, sender: {"run": run})
    run = 0
    while True:
        run += 1
        print(f"run {run}, by {agent.pid}", flush=True)  # the job goes here
        await agent.broadcast({"run": run})
        try:
            async with asyncio.timeout(INTERVAL):
                await asked.wait()
        except TimeoutError:
            pass
        asked.clear()


async def serve() -> None:
    """Each worker: answers with the last run that it knows. ``/now`` asks for a run at once."""
    worker = current_worker()
    last: dict[str, Any] = {}

    @worker.on("message")
    def done(event: Message) -> None:
        last.update(event.message)

    last.update(await worker.request_to("clock", "which run was the last one?"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"GET /now "):
            await worker.send_to("clock", "now")
        body = f"worker {worker.pid}: run {last['run']}\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    async with server:
        await server.serve_forever()


async def main() -> None:
    async with Cluster(serve, workers=WORKERS, agents={"clock": clock}) as cluster:
        await cluster.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
