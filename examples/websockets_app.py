"""A WebSocket server on all cores.

The server has no code for aiocluster: it is what you would run with ``python websockets_app.py``. The command runs it
in four workers, which share its port. Each message is answered with the worker's pid and the message. On SIGTERM it
closes its connections, as the documentation of websockets recommends. It needs websockets.

    $ pip install aiocluster websockets
    $ aiocluster run -w 4 websockets_app.py

It listens on ``$PORT``, by default 8000, until Ctrl-C. In another terminal, start the client that
websockets brings, type something, and end it with Ctrl-D:

    $ python -m websockets ws://127.0.0.1:8000
"""

import asyncio
import os
import signal

from websockets.asyncio.server import ServerConnection, serve

PORT = int(os.environ.get("PORT", "8000"))


async def answer(connection: ServerConnection) -> None:
    """Answers each message with this process's pid and the message."""
    async for message in connection:
        await connection.send(f"{os.getpid()} {message!s}")


async def main() -> None:
    async with serve(answer, "127.0.0.1", PORT) as server:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
