"""As much of a debugger as the tests need: a client of the Debug Adapter Protocol.

See https://microsoft.github.io/debug-adapter-protocol/specification: JSON behind a ``Content-Length`` header, requests
that are answered in any order, and events in between.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Debugger:
    """What an editor does when it attaches."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._heard: list[dict[str, Any]] = []

    async def attach(self, breakpoints: dict[str, list[int]]) -> None:
        """Attaches, sets breakpoints (line numbers by file), and lets the program go on."""
        await self.request("initialize", adapterID="tests", pathFormat="path")
        attach = self._send("attach", justMyCode=False)
        await self._wait(lambda heard: heard.get("event") == "initialized")
        for path, lines in breakpoints.items():
            source, places = {"path": path}, [{"line": line} for line in lines]
            reply = await self.request("setBreakpoints", source=source, breakpoints=places)
            assert all(place["verified"] for place in reply["breakpoints"]), reply
        await self.request("configurationDone")
        await self._reply(attach)

    async def stopped(self) -> dict[str, Any]:
        """Waits until a thread stops. Returns what is told of it, ``threadId`` among it."""
        event = await self._wait(lambda heard: heard.get("event") == "stopped")
        body: dict[str, Any] = event["body"]
        return body

    async def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Asks for something. Returns the reply's body."""
        return await self._reply(self._send(command, **arguments))

    def _send(self, command: str, **arguments: Any) -> int:
        self._number += 1
        asked = {"seq": self._number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(asked).encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return self._number

    async def _reply(self, number: int) -> dict[str, Any]:
        reply = await self._wait(lambda heard: heard.get("request_seq") == number)
        assert reply["success"], reply
        body: dict[str, Any] = reply.get("body", {})
        return body

    async def _wait(self, is_it: Any) -> dict[str, Any]:
        while True:
            for heard in self._heard:
                if is_it(heard):
                    self._heard.remove(heard)
                    return heard
            head = await self._reader.readuntil(b"\r\n\r\n")
            size = int(head.split(b":")[1])
            self._heard.append(json.loads(await self._reader.readexactly(size)))


@asynccontextmanager
async def debugging(port: int) -> AsyncIterator[Debugger]:
    """Connects to a debugger's port, and lets go at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        debugger = Debugger(reader, writer)
        yield debugger
        await debugger.request("disconnect", terminateDebuggee=False)
    finally:
        writer.close()
        await writer.wait_closed()
