"""All events of a worker.

The primary prints each event of a worker's life, in their order. They are those of Node's ``cluster``. ``setup``
changes a setting first, as ``cluster.setupPrimary`` does in Node: ``args``, the arguments of the worker's function.

    $ python life_of_a_worker.py
    setup: args ['at your service']
    fork: worker 1 is starting
    online: worker 1
    listening: worker 1 on 127.0.0.1, tcp4
    message: 'at your service' from worker 1
    …
    it left because it was told to: True
"""

import asyncio

from aiocluster import Primary, current_worker
from aiocluster.events import Disconnect, Exit, Fork, Listening, Message, Online, Setup


async def serve(greeting: str) -> None:
    """The worker: listens, sends a message, and serves until it is told to leave."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        await current_worker().send(greeting)
        await server.serve_forever()


def told(event: object) -> str:
    """One line about an event."""
    match event:
        case Setup(settings):
            return f"setup: args {list(settings.args)}"
        case Fork(worker):
            return f"fork: worker {worker.id} is {worker.state}"
        case Online(worker):
            return f"online: worker {worker.id}"
        case Listening(worker, address):
            return f"listening: worker {worker.id} on {address.host}, {address.family}"
        case Message(message=message, worker=worker):
            return f"message: {message!r} from worker {worker.id if worker else None}"
        case Disconnect(worker):
            return f"disconnect: worker {worker.id if worker else None}"
        case Exit(worker, code, signal):
            return f"exit: worker {worker.id}, code {code}, signal {signal}"
    raise TypeError(event)


async def main() -> None:
    async with Primary(serve) as primary:
        for name in ("setup", "fork", "online", "listening", "message", "disconnect", "exit"):
            primary.on(name, lambda event: print(told(event)))
        primary.setup(args=["at your service"])
        worker = await primary.fork()
        await worker.wait_for("message")
        await worker.disconnect()
        print(f"it left because it was told to: {worker.exited_after_disconnect}")


if __name__ == "__main__":
    asyncio.run(main())
