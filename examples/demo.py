"""Four workers on one port, and who answers.

The program starts a cluster of four workers, sends twelve requests to its port, and shows which worker has answered
each. Then it ends.

    $ python demo.py
    primary 4711 starts 4 workers
    all 4 listen on http://127.0.0.1:34653
      request  1 answered by 4713
      request  2 answered by 4715
    …
    12 requests, answered by 4 processes: 3 / 3 / 3 / 3
    all workers have left
"""

import asyncio
import os
from collections import Counter

from aiocluster import Cluster
from aiocluster.events import Address, Listening

WORKERS = 4
REQUESTS = 12


async def serve() -> None:
    """What each worker runs: plain asyncio."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = f"{os.getpid()}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)  # port 0: a free port, the same for all workers
    async with server:
        await server.serve_forever()


async def get(address: Address) -> int:
    """Sends one HTTP request on a new connection. Returns the pid of the worker that answered."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(response.rpartition(b"\r\n")[2])


async def main() -> None:
    """The primary: starts the workers, sends requests, stops the workers."""
    cluster = Cluster(serve, workers=WORKERS)
    listening = cluster.events("listening")
    print(f"primary {os.getpid()} starts {WORKERS} workers", flush=True)
    async with cluster:
        events: list[Listening] = [await anext(listening) for _ in range(WORKERS)]
        address = events[0].address
        print(f"all {WORKERS} listen on http://{address}")
        answers = [await get(address) for _ in range(REQUESTS)]
        for number, pid in enumerate(answers, 1):
            print(f"  request {number:2} answered by {pid}")
        shares = Counter(answers)
    print(f"{REQUESTS} requests, answered by {len(shares)} processes: {' / '.join(map(str, shares.values()))}")
    print("all workers have left")


if __name__ == "__main__":
    asyncio.run(main())
