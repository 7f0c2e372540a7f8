"""One HTTP request, of which every status is an answer."""

from __future__ import annotations

import asyncio

from aiocluster.events import Address


async def fetch(address: Address | None, path: str, method: str = "GET", accept: str = "*/*") -> tuple[int, str]:
    """Returns the status and the body.

    Raises:
        OSError: Nobody listens there, or the connection was reset.
    """
    assert address is not None
    if address.path is not None:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        if not head:
            raise ConnectionResetError("no answer")
        return int(head.split()[1]), body
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass
