"""As many workers as the load needs.

One worker runs while all is quiet, and up to four while clients wait. Each request keeps its worker's event loop busy
for a tenth of a second, as a slow library call does. The clients are in this program, too; yours come from outside.

    $ python by_load.py
    a worker starts in slot 0
    quiet: 1 worker
    a worker starts in slot 1
    …
    52 answers later: 4 workers
"""

import asyncio
import os
import time

from aiocluster import Cluster
from aiocluster.events import Address, Fork

CLIENTS = 8
SECONDS = float(os.environ.get("SECONDS", "2"))  # of load


async def serve() -> None:
    """The worker."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        time.sleep(0.1)  # noqa: ASYNC251 - the event loop is blocked: other clients wait
        writer.write(b"%d\n" % os.getpid())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


async def ask_for(seconds: float, address: Address) -> int:
    """Asks again and again. Returns how often it was answered."""
    end, answers = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"hello\n")
        answers += (await reader.readline()).endswith(b"\n")
        writer.close()
        await writer.wait_closed()
    return answers


async def main() -> None:
    """The primary."""
    cluster = Cluster(serve, workers=(1, 4), start_method="template")

    @cluster.on("fork")
    def show(event: Fork) -> None:
        print(f"a worker starts in slot {event.worker.slot}")

    async with cluster.events("listening") as heard, cluster:
        listening = await anext(heard)
        print(f"quiet: {len(cluster.workers)} worker")
        answers = await asyncio.gather(*(ask_for(SECONDS, listening.address) for _ in range(CLIENTS)))
        print(f"{sum(answers)} answers later: {len(cluster.workers)} workers")


if __name__ == "__main__":
    asyncio.run(main())
