"""`Session`: a worker's end of the channel to the primary: the loop that reads it, the peers, and leaving."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from .._wire import frames
from .._wire.channel import Channel
from .._wire.codec import RawFrame, flow_fields, unpack_fields
from .._wire.conversation import Conversation
from .._wire.frame import Dispatch, Frame, TakeDescriptors, on
from .._wire.inbox import Inbox
from .._wire.mailbox import Mailbox, Requests
from ..errors import BackplaneError, ProtocolError
from ..events import Backplane, Disconnect, Shutdown
from .failure import what_repeats, why_it_repeats
from .heartbeat import Heartbeat
from .leave import Leave
from .listening.kept_files import keep
from .listening.port import Ports
from .load import find_function
from .own_exception import described_as_own
from .remotes import Remotes
from .signals import Hold
from .worker import Worker

if TYPE_CHECKING:
    from .._metrics.registry import Inherited
    from .._wire.topics import Topics
    from .metrics import Metrics
    from .side import Side
    from .slow_loop import SlowLoop
    from .state import StateOpener

logger = logging.getLogger("aiocluster.worker")


_STILL = 10
"""Turns of the loop without anything in flight until all is done: a reply takes one for each task, group and timeout
between the request and whoever goes on with it."""
_TEXT = 16 * 1024  # characters: the primary is told at most so many of an error's text and of its traceback


class Session:
    """The state of this process as a worker.

    Args:
        id: The worker's number.
        channel: The channel to the primary.
        config: The worker config.
        side: The side channel to the primary.
        inherited: What a fork server had counted when it forked this process.

    Attributes:
        worker: The public object for this process.
        ports: The shared ports that this process has open.
        peers: The conversations with other processes, the primary included: by pid, and for agents also by name.
        workers: The conversations with other workers, without agents, by pid.
        remotes: The processes of other clusters of the fleet. Those spoken to are in `peers`, by number and by address.
        backplane_error: Why the fleet can't be reached; None: it can, or there is none.
        mains: The future that each running loop runs until complete.
        has_left: Whether its work is done, and the main thread, which has no event loop, is to end.
        is_interrupted: Whether KeyboardInterrupt or SystemExit ended a loop's main task, as aiohttp's do at a signal.
        loop: The event loop that reads the channel; None if none runs.
        hold: Whether SIGTERM may end what the main thread does while no loop runs.
        leaving: Its way out, once it has been told to leave or has chosen to.
        is_terminated: Whether it got SIGTERM, and has not been told to leave.
        is_ending: Whether its target has ended.
        is_over: Whether it has closed the channel itself and is about to exit.
        is_online: Whether its target is loaded.
        is_failure_told: Whether this process itself writes the traceback of its uncaught exception.
    """

    def __init__(
        self, id: int, channel: Channel, config: frames.WorkerConfig, side: Side, inherited: Inherited | None
    ) -> None:
        self.id = id
        self.pid: int = os.getpid()
        self.config = config
        self.channel = channel
        self.side = side
        self.ports: Ports = Ports(channel)
        self.inbox: Inbox = Inbox()
        self.requests: Requests = Requests()
        self.mains: dict[asyncio.AbstractEventLoop, asyncio.Future[Any]] = {}
        self.has_left: bool = False
        self.is_interrupted: bool = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.hold: Hold = Hold()
        self.leaving: Leave | None = None
        self.is_terminated: bool = False
        self.is_ending: bool = False
        self.is_over: bool = False
        self.is_online: bool = False
        self.is_failure_told: bool = True
        self._has_failed = False
        self._attaching = threading.Lock()
        self._have_heard: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._heartbeat = Heartbeat(config.heartbeat, self._report, self._may_rest)
        self._slow_loop = None if config.slow_loop is None else _slow_loop(config.slow_loop, side)
        self.ports.woken = self._heartbeat.wake
        self.ports.times_waits = config.times_waits
        self.ports.ready_clock.idle_time = self._heartbeat.meter.idle_time
        self._mailbox = Mailbox(self.inbox, self.inbox.deliver, self.requests, logger, call=_call)
        self.primary: Conversation = self._conversation(config.primary_pid, "the primary")
        self.peers: dict[int | str, Conversation] = {config.primary_pid: self.primary}
        self.workers: dict[int, Conversation] = {}
        for pid, name in config.peers.items():
            self._add_peer(pid, name)
        self.remotes: Remotes = Remotes(channel, self._mailbox, self._open_remote)
        for remote in config.remotes:
            self.remotes.add(remote)
        self.backplane_error: BackplaneError | None = None
        self._topics: Topics | None = None
        self._state: StateOpener | None = None
        self._metrics: Metrics | None = None
        self._inherited = inherited
        self.worker: Worker = Worker._create(self)
        self._endings: set[asyncio.Task[None]] = set()
        self._dispatch = Dispatch(
            frames.PRIMARY,
            [
                on(frames.PeerJoined, lambda frame: self._add_peer(frame.pid, frame.name)),
                on(frames.PeerLeft, self._on_peer_left),
                on(frames.RemoteJoined, self._on_remote_joined),
                on(frames.RemoteLeft, self._on_remote_left),
                on(frames.BackplaneChanged, self._on_backplane_changed),
                on(frames.Leave, self._on_leave),
                on(frames.Count, self._on_count),
                *self.ports.routes,
            ],
        )

    # ---- the event loop

    def attach(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Starts reading the channel on this loop, unless another loop does. Returns whether it started."""
        with self._attaching:
            if self.loop is not None:
                return False
            self.loop = loop
        self._have_heard.add(loop)
        self.tell(frames.Attached())
        self.channel.attach(loop, self._receive, self._on_channel_end)
        self._heartbeat.start(loop)
        if self._slow_loop is not None:
            self._slow_loop.start(loop)
        if self.leaving is not None:
            self.leaving.begin(loop)
        self.hold.end()
        return True

    @property
    def main(self) -> asyncio.Future[Any] | None:
        """The future that the loop which reads the channel runs until complete; None under ``run_forever``."""
        return None if self.loop is None else self.mains.get(self.loop)

    def is_attached(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this loop reads the channel. Other loops of this process share no ports."""
        return self.loop is loop

    def has_heard(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this loop reads the channel, or has read it when it ran before."""
        return loop in self._have_heard

    def detach(self) -> None:
        """Stops reading, because the loop has stopped. Another loop may attach later.

        It holds SIGTERM back until `has_stopped`: the loop itself has more to do before others may run.
        """
        self.hold.begin()
        self.loop = None
        self._heartbeat.stop()
        if self._slow_loop is not None:
            self._slow_loop.stop()
        self.ports.detach()
        if self.leaving is not None:
            self.leaving.pause()
        self.tell(frames.Detached())
        self.channel.detach()

    def has_stopped(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop has stopped for good, if it read the channel: SIGTERM may end what the main thread does."""
        if self.loop is None and self.has_heard(loop):
            self.hold.end()

    def tell(self, frame: Frame) -> None:
        """Sends the primary a frame. Does nothing if the channel is closed."""
        if not self.channel.is_closed:
            self.channel.send(frame.encode())

    def tell_signalled(self, number: int) -> bool:
        """Tells the primary that a signal has come. Returns whether a loop runs that does so."""
        if self.loop is None or self.channel.is_closed:
            return False
        self.loop.call_soon_threadsafe(self.tell, frames.Signalled(number))
        return True

    def _report(self, delay: float, busy: float | None, memory: int, tasks: int, within: float) -> None:
        self.tell(frames.Report(delay, busy, memory, tasks, within))

    def _may_rest(self) -> bool:
        return self.config.may_rest and not self.ports.has_connections

    # ---- frames

    def _receive(self, frame: RawFrame, take: TakeDescriptors) -> None:
        if type(frame) is not tuple:
            if frame[0] not in frames.FLOW:
                self._dispatch[frame[0]](frame, take)
                return
            frame = flow_fields(frame)
        kind, pid, number, body = frame
        peer = self.peers.get(pid) if kind < frames.TOPIC else None
        if peer is None and pid >= frames.AFAR and kind < frames.TOPIC:
            peer = self.remotes.find(pid)
        if peer is self.primary:
            peer.receive(kind, number, body, take)
        elif peer is not None:
            try:
                peer.receive(kind, number, body, take)
            except ProtocolError as error:  # the peer's fault, not the primary's, which only routed it
                self._mailbox.complain(ProtocolError(f"pid {peer.pid} sent an invalid message: {error}"))
        elif kind >= frames.TOPIC:
            if self._topics is not None:
                self._topics.receive(frame)
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
            self.peers = {key: peer for key, peer in self.peers.items() if peer is not gone}  # under its name, too
            self._end(gone)

    def _on_remote_joined(self, frame: frames.RemoteJoined) -> None:
        self.remotes.add(frames.Remote(frame.number, frame.host, frame.pid, frame.is_worker))

    def _open_remote(self, number: int, address: str, peer: Conversation) -> None:
        self.peers[number] = self.peers[address] = peer

    def _on_remote_left(self, frame: frames.RemoteLeft) -> None:
        address = self.remotes.remove(frame.number)
        gone = self.peers.pop(frame.number, None)
        if gone is not None:
            if address is not None and self.peers.get(address) is gone:
                del self.peers[address]
            self._end(gone)

    def _on_backplane_changed(self, frame: frames.BackplaneChanged) -> None:
        self.backplane_error = None if frame.is_connected else BackplaneError(frame.why)
        if self._topics is not None:
            self._topics.unreachable = self.backplane_error
        self.inbox.emit(Backplane(frame.is_connected, self.backplane_error))

    def _end(self, gone: Conversation) -> None:
        task = asyncio.get_running_loop().create_task(gone.end())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    # ---- the state

    def state(self, url: str) -> StateOpener:
        """How this process reaches the state; made when first asked for."""
        if self._state is None:
            from .state import StateOpener

            self._state = StateOpener(url, self.tell, lambda: self.loop)
            self._dispatch.add(self._state.routes)
        return self._state

    def abandon(self) -> None:
        """Closes the copies of its channels in a forked child of this process."""
        self.channel.abandon()
        self.side.abandon()
        if self._state is not None:
            self._state.abandon()

    # ---- numbers

    def metrics(self) -> Metrics:
        """What this process has counted, and how it gets the cluster's page; made when first asked for."""
        if self._metrics is None:
            from .metrics import Metrics

            self._metrics = Metrics(self.tell, lambda: self.loop, lambda: self._mailbox.undelivered, self._inherited)
            self._dispatch.add(self._metrics.routes)
        return self._metrics

    def _on_count(self, frame: frames.Count) -> None:
        assert self.loop is not None
        self.ports.times_waits = True
        self.metrics().count(frame.number, self.loop)

    def say_last_word(self) -> None:
        """Tells the primary what this process has counted, if it may have counted anything. No loop runs any more."""
        if not self.channel.is_closed and ("prometheus_client" in sys.modules or self._mailbox.undelivered):
            self.metrics().say_last_word()

    # ---- topics

    def topics(self) -> Topics:
        """What this process publishes and subscribes to; made when first asked for."""
        if self._topics is None:
            from .._wire.topics import Topics

            self._topics = Topics(self.channel, self.pid, self._mailbox.complain)
            self._topics.unreachable = self.backplane_error
            self._dispatch.add(self._topics.routes)
        return self._topics

    # ---- the end

    def leave(self, seconds: float | None) -> None:
        """Leaves as if the primary had asked for it, and tells the primary. None: within ``graceful_timeout``."""
        if self.leaving is None and not self.channel.is_closed:
            self.tell(frames.Leaving(seconds))
            self._begin_to_leave(self.config.graceful_timeout if seconds is None else seconds)

    def _on_leave(self, frame: frames.Leave) -> None:
        if self.leaving is not None:
            self.leaving.set(frame.seconds)
        else:
            self.tell(frames.Leaving(frame.seconds))
            self._begin_to_leave(frame.seconds)

    def _begin_to_leave(self, seconds: float) -> None:
        self.leaving = Leave(self, seconds)
        self.ports.stop()
        if self.ports.paths:
            keep(self.ports.paths)
        self.inbox.emit(Shutdown(seconds))
        if self.loop is not None:
            self.leaving.begin(self.loop)

    def report_failure(self, error: BaseException) -> None:
        """Reports an uncaught exception, once. The primary starts a replacement and sends no more connections."""
        if not self._has_failed:
            self._has_failed = True
            repeats = why_it_repeats(error)
            # Of failures that all workers share, the primary writes the traceback, once for all of them.
            is_shared = repeats is not None or not self.is_online
            is_told_by_primary = is_shared or not self.config.tells_failure
            self.is_failure_told = isinstance(error, SystemExit) or not (
                is_told_by_primary and sys.excepthook is sys.__excepthook__ and not self.channel.is_closed
            )
            name, text, trace = described_as_own(error)
            cause = what_repeats(error)
            code = cause.errno if isinstance(cause, OSError) else None
            self.tell(
                frames.Failed(
                    name,
                    text[:_TEXT],
                    trace[-_TEXT:],
                    repeats and repeats[:_TEXT],
                    self.is_failure_told,
                    code,
                    self.ports.refused.get(code) if code is not None else None,
                )
            )

    async def fail(self, error: Exception) -> None:
        """Reports an uncaught exception, then waits for what is in flight, up to ``graceful_timeout``."""
        self.report_failure(error)
        self.ports.stop()
        try:
            async with asyncio.timeout(self.config.graceful_timeout):
                await self.drain()
        except TimeoutError:
            pass
        finally:
            self.ports.stop_draining()

    async def drain(self) -> None:
        """Waits until all connections are closed, and all that is in flight besides is done.

        Afterwards, servers no longer wait for their connections. From Python 3.12 on `asyncio.Server.wait_closed` does
        wait, which would keep the main task from ending.
        """
        await self.ports.drain()
        await self.drain_work()
        self.ports.stop_draining()

    async def drain_work(self) -> None:
        """Waits until async event handlers have ended, and requests and calls have been answered, in both directions.

        What comes meanwhile is served, too, and whoever asked goes on with the reply.
        """
        still = 0
        while still < _STILL:
            await self.inbox.drain()
            self.channel.hurry()  # what these handlers have handled is acknowledged before this process ends
            in_flight = [work for peer in set(self.peers.values()) for work in peer.in_flight()]
            if in_flight:
                await asyncio.wait(in_flight)
            still = 0 if in_flight else still + 1
            await asyncio.sleep(0)

    def hear_out(self) -> None:
        """Reads what the primary has sent since the last loop ended, and closes the channel."""

        def receive(frame: RawFrame, take: TakeDescriptors) -> None:
            with contextlib.suppress(ProtocolError):  # most frames have none
                take().close()
            if frame[0] == frames.Leave.tag and self.leaving is None:
                self.leaving = Leave(self, 0.0)

        self.channel.attach_blocking(receive)
        self.channel.finish()

    def _on_channel_end(self, error: Exception | None) -> None:
        if error is not None:
            logger.error("the channel is broken: %s", error)
        self.ports.release_all()
        for gone in set(self.peers.values()):
            self._end(gone)
        self.peers.clear()
        self.workers.clear()
        if self._topics is not None:
            self._topics.close()
        if self._state is not None:
            self._state.close()
        if self._metrics is not None:
            self._metrics.close()
        self.inbox.emit(Disconnect())


def _slow_loop(seconds: float, side: Side) -> SlowLoop:
    from .slow_loop import SlowLoop  # most need none

    return SlowLoop(seconds, side.tell)


async def _call(target: Any, args: list[Any]) -> Any:
    """Calls the named function: an async one on this loop, a sync one in a thread."""
    named = frames.FunctionTarget.parse(unpack_fields(target))
    function = await asyncio.to_thread(find_function, named)
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    return await asyncio.to_thread(_run, function, args)


def _run(function: Callable[..., Any], args: list[Any]) -> Any:
    try:
        return function(*args)
    except StopIteration as error:  # a future can't hold it; `async def` turns it into the same
        raise RuntimeError("the function raised StopIteration") from error
