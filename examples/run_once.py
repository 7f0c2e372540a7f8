"""Scheduled work that is to be done once in the whole cluster, however many workers it has: an agent does it.

It answers to seed 002, which leaves open what becomes of a timed job when there are several processes: in each of them
the timer would fire. Here a timer runs in the agent ``clock`` alone, of which there is never more than one, also while
it is restarted or reloaded. What the job finds, the agent tells all workers, and any worker can ask for a run of its
own by the agent's name. ``curl http://127.0.0.1:8000`` (or ``$PORT``) shows the last run's number, whoever answers.
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
    """The agent: does the job from time to time, and when a worker asks for it."""
    agent = current_worker()
    asked = asyncio.Event()
    agent.on("message", lambda event: asked.set())
    run = 0
    while True:
        run += 1
        print(f"run {run}, by {agent.pid}", flush=True)  # here the job would be done
        await agent.broadcast({"run": run})
        try:
            async with asyncio.timeout(INTERVAL):
                await asked.wait()
        except TimeoutError:
            pass
        asked.clear()


async def serve() -> None:
    """Each worker: answers with what it has heard last; ``/now`` asks for a run at once."""
    worker = current_worker()
    last: dict[str, Any] = {"run": None}

    @worker.on("message")
    def done(event: Message) -> None:
        last.update(event.message)

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
