"""A long computation beside a server.

A long computation blocks the event loop, and with it all requests. ``cluster.call`` runs it in a worker, so the server
goes on. As many computations run at a time as there are workers.

    $ python long_computation.py

It listens on ``$PORT``, by default 8000, until Ctrl-C. ``/sum`` computes in a worker, ``/blocking-sum`` in the process
that serves, so all other requests wait meanwhile:

    $ curl http://127.0.0.1:8000/sum
    199999990000000
    $ curl http://127.0.0.1:8000/
    succeed
    $ curl http://127.0.0.1:8000/blocking-sum
    199999990000000
"""

import asyncio
import os

from aiocluster import Cluster

PORT = int(os.environ.get("PORT", "8000"))
COUNT = int(os.environ.get("COUNT", "20000000"))


def long_computation(count: int) -> int:
    """Blocks its thread until it returns."""
    total = 0
    for number in range(count):
        total += number
    return total


async def compute() -> None:
    """The workers' target: they wait to be called."""
    await asyncio.get_running_loop().create_future()


async def main() -> None:
    async with Cluster(compute) as cluster:

        async def respond(path: str) -> str:
            if path == "/sum":
                return str(await cluster.call(long_computation, COUNT))
            if path == "/blocking-sum":
                return str(long_computation(COUNT))
            return "succeed"

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                request = await reader.readuntil(b"\r\n\r\n")
                body = (await respond(request.split()[1].decode())).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
                writer.write(head + body)
            finally:
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", PORT)
        async with server:
            await cluster.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
