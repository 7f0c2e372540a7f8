"""A WebSocket server without any code for aiocluster. It listens on ``$PORT``, by default 8000.

``python -m aiocluster run -w 4 examples/websockets_app.py`` runs it in four workers that share the port. It shuts down
as the library's documentation recommends: on SIGTERM it closes the server, and this closes its connections.
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
