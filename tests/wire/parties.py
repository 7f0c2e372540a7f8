"""Two conversations over a channel, each with a mailbox that keeps what it gets; for tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiocluster._wire import frames as kinds
from aiocluster._wire.channel import Channel
from aiocluster._wire.codec import RawFrame, flow_fields
from aiocluster._wire.conversation import Conversation
from aiocluster._wire.descriptors import Descriptors
from aiocluster._wire.mailbox import Requests
from aiocluster._wire.windows import ReceiveWindow
from aiocluster.errors import ProtocolError

from .ends import PATIENCE, CountingSocket, socket_pair

PEER = 4711


class Party:
    """One process's side: a channel, a conversation, a mailbox."""

    def __init__(self, sock: CountingSocket, name: str, pid: int) -> None:
        self.sock = sock
        self.name = name
        self.channel = Channel(sock)
        self.requests = Requests()
        self.conversation = Conversation(self.channel, PEER, pid, f"the other of {name}", self)  # type: ignore[arg-type]
        self.kinds: list[int] = []
        self.received: list[tuple[int, Any, tuple[socket.socket, ...]]] = []
        self.complaints: list[Exception] = []
        self.returned: list[tuple[int, Any]] = []
        self.ends: list[Exception | None] = []
        self._changed = asyncio.Event()

    def attach(self) -> None:
        self.channel.attach(asyncio.get_running_loop(), self._receive, self._end)

    def _receive(self, frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        if frame[0] not in kinds.FLOW:
            raise ProtocolError("no frame of a conversation")
        kind, peer, number, body = flow_fields(frame)
        if peer != PEER:
            raise ProtocolError("a frame of another conversation")
        self.kinds.append(kind)
        self.conversation.receive(kind, number, body, take)
        self._changed.set()

    def _end(self, error: Exception | None) -> None:
        self.ends.append(error)
        self._changed.set()

    # what Mailbox asks for

    def deliver(
        self, sender: int, messages: Iterable[Any], handles: tuple[socket.socket, ...], receive_window: ReceiveWindow
    ) -> None:
        for message in messages:
            self.received.append((sender, message, handles))

    async def _call(self, named: Any, args: list[Any]) -> Any:
        return [named, *args]

    def call(self, named: Any, args: list[Any]) -> Awaitable[Any]:
        return self._call(named, args)

    def complain(self, error: Exception) -> None:
        self.complaints.append(error)

    def give_back(self, pid: int, message: Any) -> None:
        self.returned.append((pid, message))

    # for tests

    @property
    def messages(self) -> list[Any]:
        return [message for _, message, _ in self.received]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, count: int) -> list[Any]:
        await self.until(lambda: len(self.received) >= count)
        return self.messages[:count]

    async def ended(self) -> Exception | None:
        await self.until(lambda: bool(self.ends))
        return self.ends[0]


@asynccontextmanager
async def parties() -> AsyncIterator[tuple[Party, Party]]:
    one, other = socket_pair()
    here, there = Party(one, "here", 2), Party(other, "there", 1)
    here.attach()
    there.attach()
    try:
        yield here, there
    finally:
        for party in (here, there):
            party.channel.close()
            await party.conversation.end()
            for _, _, handles in party.received:
                for sock in handles:
                    sock.close()
