"""Who accepts, when all workers wait on one socket.

The example counts, for 200 connections, who accepts and who wakes up for nothing. With one socket for all workers, the
kernel wakes several of them for each connection (the thundering herd), and one gets it. With round robin, only the
primary wakes up, and each worker gets the same number. Node's ``cluster`` has the same two ways.

    $ python shared_socket.py
    one socket: worker 1 accepted 138, woken 186 times
    one socket: worker 2 accepted 4, woken 203 times
    one socket: worker 3 accepted 27, woken 202 times
    one socket: worker 4 accepted 31, woken 206 times
    round robin: worker 1 was given 50
    …

The first four lines are different in each run.
"""

import asyncio
import os
import resource
import socket
from collections import Counter

from aiocluster import Primary, current_worker
from aiocluster.events import Address

WORKERS = 4
CONNECTIONS = 200


async def accept_by_hand() -> None:
    """A worker that accepts on the socket that it gets, and counts."""
    worker = current_worker()
    event = await worker.wait_for("message")
    [listening] = event.handles
    accepted = 0

    def readable() -> None:
        nonlocal accepted
        try:
            connection, _ = listening.accept()
        except BlockingIOError:  # another worker was faster
            return
        with connection:
            accepted += 1
            connection.sendall(b"%d" % os.getpid())

    def count(question: str, sender: int) -> list[int]:
        """How many connections this worker has accepted, and how often it has slept and woken up."""
        return [accepted, resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw]

    asyncio.get_running_loop().add_reader(listening, readable)
    worker.handle_requests(count)
    await worker.send("ready")
    await asyncio.get_running_loop().create_future()


async def serve() -> None:
    """An ordinary worker."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d" % os.getpid())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        await server.serve_forever()


async def connect(address: Address) -> Counter[int]:
    """Connects many times, one after the other. Returns how often each pid answered."""
    answers: Counter[int] = Counter()
    for _ in range(CONNECTIONS):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        answers[int(await reader.read())] += 1
        writer.close()
        await writer.wait_closed()
    return answers


async def one_socket() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as listening:
        async with Primary(accept_by_hand) as primary, primary.events("message") as ready:
            workers = [await primary.fork() for _ in range(WORKERS)]
            for worker in workers:
                await worker.send({}, [listening])
            for _ in workers:
                await anext(ready)
            before = [await worker.request("how many?") for worker in workers]
            await connect(Address("tcp4", *listening.getsockname()))
            after = [await worker.request("how many?") for worker in workers]
    for number, ((_, slept), (accepted, woken)) in enumerate(zip(before, after, strict=True), 1):
        print(f"one socket: worker {number} accepted {accepted}, woken {woken - slept} times")


async def round_robin() -> None:
    async with Primary(serve, scheduling="round_robin") as primary:
        workers = [await primary.fork() for _ in range(WORKERS)]
        [*_, last] = [await worker.wait_for("listening") for worker in workers]
        answers = await connect(last.address)
    for number, worker in enumerate(workers, 1):
        print(f"round robin: worker {number} was given {answers[worker.pid]}")


async def main() -> None:
    await one_socket()
    await round_robin()


if __name__ == "__main__":
    asyncio.run(main())
