"""This process's end of the channel to the primary: which loop reads it, who the peers are, and how it leaves."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from typing import Any

from .._wire import frames
from .._wire.channel import Channel
from .._wire.codec import RawFrame, flow_fields
from .._wire.conversation import Conversation, described
from .._wire.frame import Dispatch, Frame, TakeDescriptors, on
from .._wire.inbox import Inbox
from .._wire.mailbox import Mailbox, Requests
from ..errors import ProtocolError
from ..events import Disconnect, Shutdown
from .heartbeat import Heartbeat
from .leave import leave
from .listening.port import Ports
from .load import find_function
from .worker import Worker

logger = logging.getLogger("aiocluster.worker")


class Session:
    """A worker's, inside.

    Args:
        id: The worker's number.
        channel: To the primary.
        config: What the primary said first.

    Attributes:
        worker: What users have of it.
        ports: The shared ports that it has open.
        peers: What is said to others: by pid, and by name for agents. The primary is among them.
        workers: Those of the peers that are workers, by pid.
        main: What the running loop runs until it is complete; None if it just runs.
        is_leaving: Whether it has been told to leave, or leaves of its own accord.
        is_over: Whether it has closed the channel itself, and ends.
    """

    def __init__(self, id: int, channel: Channel, config: frames.WorkerConfig) -> None:
        self.id = id
        self.pid: int = os.getpid()
        self.config = config
        self.channel = channel
        self.ports: Ports = Ports(channel)
        self.inbox: Inbox = Inbox()
        self.requests: Requests = Requests()
        self.main: asyncio.Future[Any] | None = None
        self.is_leaving: bool = False
        self.is_over = False
        self._has_failed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heartbeat = Heartbeat(config.heartbeat, self._report)
        self._mailbox = Mailbox(self.inbox, self.inbox.deliver, self.requests, logger, call=_call)
        self.primary: Conversation = self._conversation(config.primary_pid, "the primary")
        self.peers: dict[int | str, Conversation] = {config.primary_pid: self.primary}
        self.workers: dict[int, Conversation] = {}
        for pid, name in config.peers.items():
            self._add_peer(pid, name)
        self.worker: Worker = Worker._create(self)
        self._leaving: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._dispatch = Dispatch(
            frames.PRIMARY,
            [
                on(frames.PeerJoined, lambda frame: self._add_peer(frame.pid, frame.name)),
                on(frames.PeerLeft, self._on_peer_left),
                on(frames.Leave, lambda frame: self._leave(frame.seconds)),
                *self.ports.routes,
            ],
        )

    # ---- which loop

    def attach(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Reads the channel on this loop, unless another loop of this process does; says whether it does."""
        if self._loop is not None:
            return False
        self._loop = loop
        self.tell(frames.Attached())
        self.channel.attach(loop, self._receive, self._on_channel_end)
        self._heartbeat.start(loop)
        return True

    def is_attached(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this is the loop that reads the channel; the others of this process share nothing."""
        return self._loop is loop

    def detach(self) -> None:
        """The loop has stopped; another one may be attached to."""
        self._loop = None
        self._heartbeat.stop()
        self.tell(frames.Detached())
        self.channel.detach()

    def tell(self, frame: Frame) -> None:
        """Sends the primary a frame; nothing if it is gone."""
        if not self.channel.is_closed:
            self.channel.send(frame.encode())

    def _report(self, delay: float, memory: int, tasks: int) -> None:
        self.tell(frames.Report(delay, memory, tasks))

    # ---- frames

    def _receive(self, frame: RawFrame, take: TakeDescriptors) -> None:
        if frame[0] not in frames.FLOW:
            self._dispatch(frame, take)
            return
        kind, pid, number, body = flow_fields(frame)
        peer = self.peers.get(pid)
        if peer is self.primary:
            peer.receive(kind, number, body, take)
        elif peer is not None:
            try:
                peer.receive(kind, number, body, take)
            except ProtocolError as error:  # a peer's fault, not that of the primary, which brought it
                self._mailbox.complain(ProtocolError(f"pid {pid} sent what is no message: {error}"))
        elif kind == frames.HANDLES and number > 0:
            take().close()

    # ---- peers

    def _conversation(self, pid: int, whom: str) -> Conversation:
        return Conversation(self.channel, pid, pid, whom, self._mailbox)

    def _add_peer(self, pid: int, name: str | None) -> None:
        peer = self.peers[pid] = self._conversation(pid, f"the worker with pid {pid}")
        if name is None:
            self.workers[pid] = peer
        else:
            self.peers[name] = peer

    def _on_peer_left(self, frame: frames.PeerLeft) -> None:
        gone = self.peers.pop(frame.pid, None)
        self.workers.pop(frame.pid, None)
        if gone is not None:
            self.peers = {key: peer for key, peer in self.peers.items() if peer is not gone}  # by its name, too
            self._end(gone)

    def _end(self, gone: Conversation) -> None:
        task = asyncio.get_running_loop().create_task(gone.end())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    # ---- the end

    def leave(self, seconds: float) -> None:
        """Leaves of its own accord, as if the primary had said so."""
        if not self.is_leaving and not self.channel.is_closed:
            self.tell(frames.Leaving())
            self._leave(seconds)

    def _leave(self, seconds: float) -> None:
        if self.is_leaving:
            return
        self.is_leaving = True
        self.ports.stop()
        self.inbox.emit(Shutdown(seconds))
        self._leaving = asyncio.get_running_loop().create_task(leave(self, seconds))

    def report_failure(self, error: BaseException) -> None:
        """Tells the primary, once, of an uncaught exception: it starts a replacement and sends no more connections."""
        if not self._has_failed:
            self._has_failed = True
            self.tell(frames.Failed(*described(error)))

    async def fail(self, error: Exception) -> None:
        """Reports an uncaught exception, and returns when what is in flight has finished, or after the timeout."""
        self.report_failure(error)
        self.ports.stop()
        await self.drain(self.config.graceful_timeout)

    async def drain(self, timeout: float) -> None:
        """Waits until all connections are closed and all async event handlers have ended, or until the timeout.

        After that, no server waits for its connections: `asyncio.Server.wait_closed` does from Python 3.12 on, and
        would keep the main task from ending.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.ports.drain()
                await self.inbox.drain()
        except TimeoutError:
            pass
        self.ports.stop_draining()

    def _on_channel_end(self, error: Exception | None) -> None:
        if error is not None:
            logger.error("the channel is broken: %s", error)
        for gone in set(self.peers.values()):
            self._end(gone)
        self.peers.clear()
        self.workers.clear()
        self.inbox.emit(Disconnect())


async def _call(target: Any, args: list[Any]) -> Any:
    """Calls the function of that name: an async one on this loop, a sync one in a thread."""
    named = frames.FunctionTarget.parse(target)
    function = await asyncio.to_thread(find_function, named)
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    return await asyncio.to_thread(function, *args)
