"""A cluster in one program.

The README's program: the workers greet, and the primary tells of each worker that has ended.

    $ python hello.py

It listens on port 8000 until Ctrl-C. In another terminal:

    $ curl http://127.0.0.1:8000
    hello from 4711
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import asyncio
import os

from aiocluster import Cluster


async def serve():  # runs in each worker
    async def greet(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = f"hello from {os.getpid()}\n".encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        writer.write(head + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 8000)  # plain asyncio: a shared port
    async with server:
        await server.serve_forever()


async def main():  # runs in the primary
    async with Cluster(serve, workers=4) as cluster:

        @cluster.on("exit")
        def gone(event):
            how = event.signal.name if event.signal else f"exit code {event.code}"
            print("worker", event.worker.pid, "left:", how)

        await cluster.serve_forever()  # SIGINT and SIGTERM stop it, SIGHUP reloads


if __name__ == "__main__":
    asyncio.run(main())
