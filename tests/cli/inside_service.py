"""What `test_service` has the command run: a server whose address is its argument."""

from __future__ import annotations

import asyncio
import os
import sys


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with this process's pid and the names of systemd's variables that it sees."""
    await reader.readuntil(b"\r\n\r\n")
    seen = [name for name in os.environ if name.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_"))]
    body = " ".join([str(os.getpid()), *seen]).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()
    await writer.wait_closed()


async def serve() -> None:
    where = sys.argv[1]
    if where.startswith("/"):
        server = await asyncio.start_unix_server(answer, where, backlog=50)
    else:
        host, _, port = where.rpartition(":")
        server = await asyncio.start_server(answer, host, int(port))
    await server.serve_forever()
