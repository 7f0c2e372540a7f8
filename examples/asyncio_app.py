"""A plain asyncio HTTP server without any code for aiocluster. It listens on ``$PORT``, by default 8000.

``python -m aiocluster run -w 4 examples/asyncio_app.py`` runs it in four workers that share the port.
"""

import asyncio
import os

PORT = int(os.environ.get("PORT", "8000"))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request of a connection with this process's pid, until the client closes it."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            body = f"{os.getpid()}\n".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
