"""Round robin by hand: connections are sent.

The primary accepts connections and sends each one to the next worker with ``send(…, handles=[…])``. So only one process
wakes up for a connection, and all workers get the same number. The primary's copy is closed once it has been sent. In
Node this is ``worker.send(message, socket)``. `Cluster` does the same by itself, in batches, and gives connections that
a worker did not take to another one.

    $ python send_connections.py
    workers: 4712 4713 4714 4715

It listens on ``$PORT``, by default 8000, until Ctrl-C. In another terminal:

    $ curl http://127.0.0.1:8000
    4712
    $ curl http://127.0.0.1:8000
    4713
"""

import asyncio
import os
import socket
from collections import deque

from aiocluster import Primary, WorkerProcess, current_worker
from aiocluster.events import Message

PORT = int(os.environ.get("PORT", "8000"))
WORKERS = 4


async def serve() -> None:
    """The worker: answers each connection that it gets."""

    async def answer(event: Message) -> None:
        (connection,) = event.handles
        reader, writer = await asyncio.open_connection(sock=connection)
        await reader.readuntil(b"\r\n\r\n")
        body = f"{os.getpid()}\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    current_worker().on("message", answer)
    await asyncio.get_running_loop().create_future()


async def distribute(server: socket.socket, workers: deque[WorkerProcess]) -> None:
    """Accepts for ever. The worker that gets a connection goes to the end of the queue."""
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(server)
        await workers[0].send({}, [connection])
        workers.rotate(-1)


async def main() -> None:
    """The primary."""
    with socket.create_server(("127.0.0.1", PORT), backlog=100) as server:
        server.setblocking(False)
        async with Primary(serve) as primary:
            workers = deque([await primary.fork() for _ in range(WORKERS)])
            print("workers:", *(worker.pid for worker in workers), flush=True)
            await distribute(server, workers)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
