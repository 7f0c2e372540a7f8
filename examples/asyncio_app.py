"""A plain asyncio server on all cores.

The server has no code for aiocluster: it is what you would run with ``python asyncio_app.py``. The command runs it in
four workers, which share its port. Each answer is the pid of the worker that has answered.

    $ aiocluster run -w 4 asyncio_app.py

It listens on ``$PORT``, by default 8000, until Ctrl-C. In another terminal:

    $ curl http://127.0.0.1:8000
    4711
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
