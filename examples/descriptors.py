"""What a proxy costs, in descriptors.

A proxy needs two descriptors for each client as long as the client stays: one for the client, one for the worker. A
primary that passes the connection to a worker needs none. In this example clients connect in both ways and stay, and
each process counts its open descriptors.

    $ python descriptors.py
    proxy: 2 descriptors for each client in the primary, 1 in the worker
    handed over: 0 descriptors for each client in the primary, 1 in the worker
"""

import asyncio
import os

from aiocluster import Primary, current_worker, exclusive

CLIENTS = 50


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


async def serve() -> None:
    """A worker that echoes each line, on its own port (for the proxy) and on a shared port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    worker = current_worker()
    worker.handle_requests(lambda question, sender: open_descriptors())
    with exclusive():
        own = await asyncio.start_server(echo, "127.0.0.1", 0)
    await asyncio.start_server(echo, "127.0.0.1", 0)
    await worker.send(own.sockets[0].getsockname()[1])
    await asyncio.get_running_loop().create_future()


async def visit() -> None:
    """A worker that acts as all clients, so that their descriptors are in another process."""

    async def connect(port: int, sender: int) -> None:
        for _ in range(CLIENTS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"are you there?\n")
            await reader.readline()
            clients.append(writer)

    clients: list[asyncio.StreamWriter] = []
    current_worker().handle_requests(connect)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        for writer in clients:
            writer.close()


class Proxy:
    """Forwards bytes in both directions between each client and a worker."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_worker, to_worker = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pump(reader, to_worker), self._pump(from_worker, writer))

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()


async def main() -> None:
    async with Primary(serve) as primary:
        server = await primary.fork()
        own_port = (await server.wait_for("message")).message
        shared_port = (await server.wait_for("listening")).address.port
        primary.setup(target=visit)
        visitor = await primary.fork()
        await visitor.wait_for("online")

        async def measure(name: str, port: int) -> None:
            worker_before, primary_before = await server.request("how many?"), open_descriptors()
            await visitor.request(port)
            worker_after, primary_after = await server.request("how many?"), open_descriptors()
            here, there = (primary_after - primary_before) / CLIENTS, (worker_after - worker_before) / CLIENTS
            print(f"{name}: {here:.0f} descriptors for each client in the primary, {there:.0f} in the worker")

        async with await asyncio.start_server(Proxy(own_port).pass_on, "127.0.0.1", 0) as proxy:
            await measure("proxy", proxy.sockets[0].getsockname()[1])
            await measure("handed over", shared_port)
            await visitor.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
