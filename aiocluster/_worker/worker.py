"""The worker, seen from inside: what `current_worker` returns."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from .._events.emitter import Emitter
from .._wire import frames as kinds
from .._wire.channel import Channel
from .._wire.codec import Frame, encode, pack
from .._wire.conversation import Conversation, RequestHandler, TakeDescriptors, described
from .._wire.inbox import Inbox, MessageQueue
from .._wire.windows import ReceiveWindow, send_to_all
from ..errors import ChannelClosedError, ProtocolError, WorkerNotFoundError
from ..events import Disconnect, Error, Shutdown, Undelivered
from .heartbeat import Heartbeat
from .leave import leave
from .listening.port import Ports
from .load import find_function

logger = logging.getLogger("aiocluster.worker")


class Worker(Emitter):
    """This process as a worker of a cluster.

    Attributes:
        id: Its number within the primary, from 1 on.
        pid: Its process id.
        primary_pid: The primary's.
        name: An agent's name; else None.
    """

    def __init__(self, id: int, channel: Channel, welcome: dict[str, Any]) -> None:
        self.id = id
        self.pid = os.getpid()
        self.primary_pid: int = welcome["primary_pid"]
        self.name: str | None = welcome.get("name")
        self.channel = channel
        self.ports = Ports(channel)
        self.is_leaving = False
        self.is_over = False  # it has closed the channel itself, and ends
        self._has_failed = False
        self.main: asyncio.Future[Any] | None = None  # what the running loop runs until it is complete
        self.request_handler: RequestHandler | None = None
        self._hub: Inbox = Inbox()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heartbeat = Heartbeat(welcome["heartbeat"], self._report)
        self._leaving: asyncio.Task[None] | None = None
        self._primary = Conversation(channel, self.primary_pid, self.primary_pid, "the primary", self)
        self._peers: dict[int, Conversation] = {}  # workers and agents
        self._workers: dict[int, Conversation] = {}  # those of them that are no agents
        self._names: dict[str, int] = {}
        for pid, name in welcome["peers"].items():
            self._on_peer_joined(pid, name)
        self._endings: set[asyncio.Task[None]] = set()
        self._receivers: dict[int, Callable[..., None]] = {
            kinds.PEER_JOINED: self._on_peer_joined,
            kinds.PEER_LEFT: self._on_peer_left,
            kinds.LEAVE: self._on_leave,
            **self.ports.receivers,
        }

    def __repr__(self) -> str:
        return f"<Worker {self.id}, pid {self.pid}>"

    @property
    def peers(self) -> tuple[int, ...]:
        """The pids of the other connected workers, as of now; agents are reached by name."""
        return tuple(self._workers)

    def is_connected(self) -> bool:
        """Whether the primary is there."""
        return not self.channel.is_closed

    # ---- which loop

    def attach(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Hears the primary on this loop from now on, unless another one of this process does; says whether it does."""
        if self._loop is not None:
            return False
        self._loop = loop
        self.ports.tell(kinds.ATTACHED)
        self.channel.attach(loop, self._receive, self._on_channel_end)
        self._heartbeat.start(loop)
        return True

    def is_attached(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this is the loop that hears the primary; the others of this process share nothing."""
        return self._loop is loop

    def detach(self) -> None:
        """The loop has stopped; another one may be attached to."""
        self._loop = None
        self._heartbeat.stop()
        self.ports.tell(kinds.DETACHED)
        self.channel.detach()

    def _report(self, delay: float, memory: int, tasks: int) -> None:
        self.ports.tell(kinds.REPORT, delay, memory, tasks)

    # ---- messages

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        """Sends the primary a message; see `send_to`."""
        if handles:
            await self._primary.send(message, handles, keep_open=keep_open)
        elif wait := self._primary.put(message):
            await wait

    async def send_to(
        self, to: int | str, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False
    ) -> None:
        """Sends another worker a message, through the primary and in order.

        It waits only while that worker has 512 KiB of ours that it has not confirmed. What it has not confirmed when it
        goes comes back as the event ``undelivered``.

        Args:
            to: A pid, or an agent's name; the primary's pid is the primary.
            message: What msgpack carries; see the documentation's page on messages.
            handles: Sockets that go along. A connected one is closed here once it has been sent.
            keep_open: Keeps connected ones open here too.

        Raises:
            WorkerNotFoundError: There is no such worker.
            ChannelClosedError: It went while this waited, or the primary is gone.
            SerializationError: The message holds something else; nothing was sent.
            MessageTooLargeError: It has more than 64 MiB packed; nothing was sent.
        """
        peer = self._conversation(to)
        if handles:
            await peer.send(message, handles, keep_open=keep_open)
        elif wait := peer.put(message):
            await wait

    async def broadcast(self, message: Any) -> None:
        """Sends a message, packed once, to every other worker, no agent; waits for the slowest to have room."""
        body = pack(message)
        await send_to_all((peer.send_window for peer in self._workers.values()), body)

    async def send_random(self, message: Any) -> None:
        """Sends a message to one of the other workers, picked at random.

        Raises:
            WorkerNotFoundError: There is no other one.
        """
        if not self._workers:
            raise WorkerNotFoundError("there is no other worker")
        number = int.from_bytes(os.urandom(8))  # the module random takes a while to import
        await self.send_to(self.peers[number % len(self.peers)], message)

    async def request(self, message: Any, *, timeout: float | None = None) -> Any:
        """Sends the primary a request and returns the reply; see `request_to`."""
        return await self._primary.request(message, timeout)

    async def request_to(self, to: int | str, message: Any, *, timeout: float | None = None) -> Any:
        """Sends another worker a request and returns what its handler replies.

        Args:
            to: A pid, or an agent's name.
            message: Like a message's.
            timeout: Seconds to wait at most; None waits as long as that worker lives.

        Raises:
            WorkerNotFoundError: There is no such worker.
            RemoteError: Its handler raised, or it has none.
            TimeoutError: No reply came in time; a late one is dropped.
            ChannelClosedError: It went before it replied.
            SerializationError: As for `send_to`.
            MessageTooLargeError: As for `send_to`.
        """
        return await self._conversation(to).request(message, timeout)

    def handle_requests(self, handler: RequestHandler | None) -> None:
        """Answers requests from now on: ``handler(message, sender)``, sync or async.

        What it returns is the reply; what it raises is the requester's `RemoteError`.
        """
        self.request_handler = handler

    def messages(self) -> MessageQueue:
        """The messages from now on, one by one: ``async for message in worker.messages()``.

        A message is confirmed to its sender once the next one is asked for, so a slow loop slows its senders down.
        So let no loop wait until it can send to those who, in a loop of the same kind, wait until they can send to it:
        send from another task. Requests may be made from within; they have a window of their own.
        """
        return self._hub.messages()

    def _conversation(self, to: int | str) -> Conversation:
        peer = self._peers.get(self._names.get(to, 0) if isinstance(to, str) else to)
        if peer is not None:
            return peer
        if to == self.primary_pid:
            return self._primary
        if self.channel.is_closed:
            raise ChannelClosedError("the primary is gone")
        what = "name" if isinstance(to, str) else "pid"
        raise WorkerNotFoundError(
            f"no connected worker has the {what} {to!r}; there are {sorted(self._peers) or 'none'}"
        )

    # what conversation.Mailbox asks for

    def deliver(
        self, sender: int, messages: Iterable[Any], handles: tuple[socket.socket, ...], receive_window: ReceiveWindow
    ) -> None:
        self._hub.deliver(sender, messages, handles, receive_window)

    async def call(self, named: dict[str, Any], args: list[Any]) -> Any:
        function = await asyncio.to_thread(find_function, named)
        if inspect.iscoroutinefunction(function):
            return await function(*args)
        return await asyncio.to_thread(function, *args)

    def complain(self, error: Exception) -> None:
        logger.error("%s", error)
        self._hub.emit(Error(None, error))

    def give_back(self, pid: int, message: Any) -> None:
        self._hub.emit(Undelivered(pid, message))

    # ---- frames

    def _receive(self, frame: Frame, take: TakeDescriptors) -> None:
        kind = frame[0]
        if kind in kinds.FLOW:
            _, peer, number, body = frame
            if peer == self.primary_pid:
                self._primary.receive(kind, number, body, take)
            elif (conversation := self._peers.get(peer)) is not None:
                self._hear(conversation, kind, number, body, take)
            elif kind == kinds.HANDLES and number > 0:
                take().close()
            return
        receiver = self._receivers.get(kind)
        if receiver is None:
            raise ProtocolError(f"the primary sent a frame of unknown kind {kind}")
        if kind in kinds.WITH_DESCRIPTORS:
            receiver(take, *frame[1:])
        else:
            receiver(*frame[1:])

    def _hear(self, peer: Conversation, kind: int, number: int, body: bytes, take: TakeDescriptors) -> None:
        """A peer's nonsense is no reason to leave the primary's channel, which brought it."""
        try:
            peer.receive(kind, number, body, take)
        except Exception as error:
            self.complain(ProtocolError(f"pid {peer.pid} sent what is no message: {error}"))

    def _on_peer_joined(self, pid: int, name: str | None) -> None:
        peer = self._peers[pid] = Conversation(self.channel, pid, pid, f"the worker with pid {pid}", self)
        if name is None:
            self._workers[pid] = peer
        else:
            self._names[name] = pid

    def _on_peer_left(self, pid: int) -> None:
        peer = self._peers.pop(pid, None)
        self._workers.pop(pid, None)
        self._names = {name: other for name, other in self._names.items() if other != pid}
        if peer is not None:
            self._end(peer)

    def _end(self, conversation: Conversation) -> None:
        task = asyncio.get_running_loop().create_task(conversation.end())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    # ---- the end

    async def disconnect(self, *, timeout: float = 30.0) -> None:
        """Leaves of its own accord, as if the primary had said so; returns when the leave has begun.

        Args:
            timeout: The seconds it takes at most before its main task is ended.
        """
        if not self.is_leaving and not self.channel.is_closed:
            self.channel.send(encode(kinds.LEAVING))
            self._on_leave(timeout)

    def _on_leave(self, timeout: float) -> None:
        if self.is_leaving:
            return
        self.is_leaving = True
        self.ports.stop()
        self._hub.emit(Shutdown(timeout))
        self._leaving = asyncio.get_running_loop().create_task(leave(self, timeout))

    def report_failure(self, error: BaseException) -> None:
        """Tells the primary, once, of an uncaught exception: it starts a replacement and sends no more connections."""
        if not self._has_failed:
            self._has_failed = True
            self.ports.tell(kinds.FAILED, *described(error))

    async def fail(self, error: Exception, timeout: float) -> None:
        """Reports an uncaught exception, and returns when what is in flight has finished, or after the timeout."""
        self.report_failure(error)
        self.ports.stop()
        await self.drain(timeout)

    async def drain(self, timeout: float) -> None:
        """Waits until all connections are closed and all async event handlers have ended, or until the timeout.

        After that, no server waits for its connections: `asyncio.Server.wait_closed` does from Python 3.12 on, and
        would keep the main task from ending.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.ports.drain()
                await self._hub.drain()
        except TimeoutError:
            pass
        self.ports.stop_draining()

    def _on_channel_end(self, error: Exception | None) -> None:
        if error is not None:
            logger.error("the channel is broken: %s", error)
        for conversation in (self._primary, *self._peers.values()):
            self._end(conversation)
        self._peers.clear()
        self._workers.clear()
        self._hub.emit(Disconnect())
