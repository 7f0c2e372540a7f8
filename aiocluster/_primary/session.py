"""`Session`: what the primary holds for one worker: its process, its channel and its state.

::

    process ── exit ──▶┐                     ┌──▶ events (`WorkerProcess`)
                       ├─▶ Session ─ Life ───┼──▶ router: the peers
    channel ─ frames ─▶┘                     └──▶ backend: ports and policies
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from .._events.emitter import EventHub
from .._processes.exit_status import ExitStatus
from .._processes.stdio import PipeReader
from .._wire import frames
from .._wire.channel import Channel
from .._wire.codec import RawFrame, flow_fields, pack_fields
from .._wire.conversation import Conversation
from .._wire.frame import Dispatch, TakeDescriptors, on
from .._wire.mailbox import Mailbox, Requests
from .._wire.windows import ReceiveWindow
from ..address import Address
from ..errors import ClusterError, ProtocolError, RemoteError, TargetError
from ..events import Disconnect, Error, Event, Exit, Fork, Listening, Online, Reason, Slow
from ..stats import SlowLoop, WorkerStats
from .deadline import Deadline
from .folders import Folders
from .launch import Child
from .life import Life
from .log_writer import LogWriter
from .ports.backend import Backend
from .ports.busy import SILENT
from .ports.table import Place, PortTable
from .reason import IN_WORDS, Cause
from .router import Router
from .side import Side
from .state import StateProcess
from .target import name_target
from .topics import Board, Timer

if TYPE_CHECKING:
    from ..settings import Settings
    from .worker_process import WorkerProcess

logger = logging.getLogger("aiocluster.primary")

_FOR_ALL_WITHIN = 0.25  # seconds in which a signal that is sent to all processes reaches them all

_OPENINGS = 64  # channels to the state that a worker may ask for at once: one for each of its loops

_AS_EVENT: Final = {"is_event": True}  # an attribute of records: an event tells the same

_AT_MOST_ONCE: Final = frozenset({Fork.name, Online.name, Disconnect.name, Exit.name})


def _nothing(*args: object) -> None:
    """The default callback."""


def _schedule(seconds: float, function: Callable[[], None]) -> Timer:
    """The board's timer."""
    return asyncio.get_running_loop().call_later(seconds, function)


def log_failure(session: Session) -> None:
    """Logs the traceback of a worker that has failed."""
    logger.error("worker %d (pid %d) has failed\n\n%s", session.identity.id, session.pid, session.last_words)


@dataclass(frozen=True, slots=True)
class Identity:
    """A worker's ids, and what it was started with.

    Attributes:
        id: Its number in this primary, from 1 on; never reused.
        place: What its replacement inherits: its slot, or an agent's name.
        weight: Its relative share of connections under weighted scheduling.
        env: The argument ``env`` of `Primary.fork`.
    """

    id: int
    place: Place
    weight: int
    env: Mapping[str, str]

    @property
    def slot(self) -> int | None:
        """Its slot; None for an agent."""
        return self.place if isinstance(self.place, int) else None

    @property
    def name(self) -> str | None:
        """The agent's name; None for other workers."""
        return self.place if isinstance(self.place, str) else None


class Numbers(Protocol):
    """What collects the numbers that workers have counted."""

    def counted(self, session: Session, frame: frames.Counted) -> None:
        """A worker has said what it has counted."""
        ...

    def ask_page(self, session: Session, frame: frames.AskPage) -> None:
        """A worker asks for the page with the numbers of all.

        Raises:
            ProtocolError: It waits for one already.
        """
        ...

    def gone(self, session: Session) -> None:
        """A worker has ended, and all it said has been heard."""
        ...

    def counted_before_forks(self, report: bytes) -> None:
        """A fork server has said what it has counted itself."""
        ...


@dataclass(slots=True)
class Shared:
    """State that all workers of a primary share.

    Attributes:
        settings: The current settings.
        folders: Where this process was started from.
        hub: Receives the events of all workers.
        requests: The handler of their requests.
        router: The workers by pid.
        topics: Who publishes and subscribes to what.
        state: The process that keeps the state; None: there is none.
        logs: Writes the workers' log records.
        numbers: What collects the numbers that workers have counted; None: nothing does.
        ports: The shared ports.
        host: What the fleet calls this cluster; empty if there is none.
        changed: Called when a worker's state has changed.
        untold: Called with the session of a worker whose traceback nobody has written yet.
        gone: Called with the session of a worker that has both disconnected and exited.
        is_stopping: Whether all workers are being told to leave.
        is_ending: Whether all workers are about to be told to leave, so that none needs a signal of its own.
    """

    settings: Settings
    folders: Folders = field(default_factory=Folders)
    hub: EventHub = field(default_factory=EventHub)
    requests: Requests = field(default_factory=Requests)
    router: Router = field(default_factory=Router)
    topics: Board = field(default_factory=lambda: Board(_schedule))
    state: StateProcess | None = None
    logs: LogWriter = field(default_factory=LogWriter)
    numbers: Numbers | None = None
    ports: PortTable = field(default_factory=PortTable)
    host: str = ""
    changed: Callable[[], None] = _nothing
    untold: Callable[[Session], None] = log_failure
    gone: Callable[[Session], None] = _nothing
    is_stopping: Callable[[], bool] = bool
    is_ending: Callable[[], bool] = bool


class Session:
    """Connects one worker's process, channel and state to the rest of the primary.

    Args:
        identity: The worker's ids.
        child: The worker's process.
        channel: The worker's channel.
        shared: State shared with the other workers.
        settings: The settings that it has been started with.
        side: The socket of its side channel.

    Attributes:
        worker: The public object for this worker.
        life: The worker's state machine.
        cause: What explains its end.
        side: Its side channel.
        backend: The worker as ports and policies know it.
        exit: Done when the process has ended.
        exit_status: How it ended, once it has.
        failure: The uncaught exception that the worker reported; None if there was none.
        repeats: Why every other worker would fail in the same way; None: others may do better.
        refused: The errno of an address in use or not allowed, which ended it, and the shared port's address.
        is_failure_told: Whether the worker itself has written the traceback.
        has_been_online: Whether it has ever been online.
        serves_app: Whether its target is an ASGI app, which it has told once it was online.
        delay: Seconds that its event loop was late, in its last report.
        memory: Bytes of resident memory, in its last report; 0 before the first.
        tasks: Number of asyncio tasks, in its last report.
        heartbeat: Seconds from its last report to the next one.
        spent: Why the worker asks to be replaced; None: it does not.
        calls: Number of functions it is running for `Cluster.call`.
        messages: Number of messages it has sent.
    """

    def __init__(
        self,
        identity: Identity,
        child: Child,
        channel: Channel,
        shared: Shared,
        settings: Settings,
        side: socket.socket,
    ) -> None:
        from .worker_process import WorkerProcess

        self.identity = identity
        self.pid: int = child.pid
        self.channel = channel
        self.child = child
        self.shared = shared
        self.life: Life = Life()
        self.cause: Cause = Cause()
        self._deadline = Deadline(self._end_late)
        self.hub: EventHub = EventHub(shared.hub)
        self.stdout: PipeReader | None = child.stdout
        self.stderr: PipeReader | None = child.stderr
        self.happened: dict[str, Event] = {}
        self.exit_status: ExitStatus = ExitStatus(None)
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.failure: RemoteError | None = None
        self.repeats: str | None = None
        self.refused: tuple[int, str | None] | None = None
        self.is_failure_told: bool = True
        self.delay: float = 0.0
        self.memory: int = 0
        self.tasks: int = 0
        self.spent: str | None = None
        self.calls: int = 0
        self.messages: int = 0
        self.has_been_online: bool = False
        self.serves_app: bool = False
        self._has_heard = False  # that it is to leave
        self._online_since = 0.0
        self._reported_at = 0.0
        self.heartbeat: float = settings.heartbeat
        self._heartbeat = settings.heartbeat  # at first, and whenever it has something to do
        self._silence: asyncio.TimerHandle | None = None
        self._disconnected = asyncio.Event()
        self._ready_or_over = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._openings: set[asyncio.Task[None]] = set()
        whom = f"worker {identity.id} (pid {child.pid})"
        mailbox = Mailbox(self.hub, self._deliver, shared.requests, logger)
        self.conversation: Conversation = Conversation(channel, os.getpid(), child.pid, whom, mailbox)
        self.worker: WorkerProcess = WorkerProcess._create(self)
        mailbox.worker = self.worker
        self.side: Side = Side(side, whom, self._on_slow, self._on_ran_again, shared.logs, identity.place, child.pid)
        self._member = shared.topics.join(child.pid, whom, channel)
        self.backend: Backend = Backend(
            channel,
            self.life,
            shared.ports,
            weight=identity.weight,
            slot=shared.ports.number_of(identity.place),
            place=identity.place,
            scheduling=lambda: shared.settings.scheduling,
            listening=self._on_listening,
            pid=child.pid,
            has_other_rights=(settings.uid, settings.gid) != (None, None),
        )
        self._dispatch = Dispatch(
            frames.WORKER,
            [
                on(frames.Online, self._on_online),
                on(frames.Attached, self._on_attached),
                on(frames.Detached, self._on_detached),
                on(frames.Report, self._on_report),
                on(frames.Failed, self._on_failed),
                on(frames.Leaving, self._on_leaving),
                on(frames.Signalled, self._on_signalled),
                on(frames.Spent, self._on_spent),
                on(frames.OpenState, self._on_open_state),
                on(frames.Counted, self._on_counted),
                on(frames.AskPage, self._on_ask_page),
                *self._member.routes,
                *self.backend.routes,
            ],
        )
        channel.attach(asyncio.get_running_loop(), self._receive, self._on_channel_end)
        child.watch(self._on_exit)
        asyncio.get_running_loop().call_soon(self._emit, Fork(self.worker))
        shared.changed()

    def _deliver(self, sender: int | str, messages: Any, handles: Any, window: ReceiveWindow) -> None:
        self.hub.emit_messages(sender, messages, handles, self.worker, window.hold)

    def _emit(self, event: Event) -> None:
        if event.name in _AT_MOST_ONCE or event.name == Listening.name:
            self.happened[event.name] = event
        self.hub.emit(event)

    def _changed(self) -> None:
        """Tells others that the worker's state has changed."""
        if self.life.is_ready or self.life.is_over:
            self._ready_or_over.set()
        else:
            self._ready_or_over.clear()
        self.shared.changed()

    # ---- status

    @property
    def silence(self) -> float | None:
        """Seconds since its event loop last reported; None if no loop is running."""
        return time.monotonic() - self._reported_at if self.life.loop == "running" else None

    @property
    def rests(self) -> bool:
        """Whether it has nothing to do, and reports less often therefore."""
        return self.heartbeat > self._heartbeat

    @property
    def age(self) -> float:
        """Seconds since it came online; 0 before."""
        return time.monotonic() - self._online_since if self.has_been_online else 0.0

    def stats(self) -> WorkerStats:
        """Returns its current numbers."""
        return WorkerStats(
            id=self.identity.id,
            slot=self.identity.slot,
            pid=self.pid,
            name=self.identity.name,
            state=self.life.state,
            connections=self.backend.open,
            accepted=self.backend.accepted,
            returned=self.backend.returned,
            redispatched=self.backend.redispatched,
            calls=self.calls,
            loop_delay=self.delay,
            busy=self.backend.busy,
            memory=self.memory,
            tasks=self.tasks,
            age=self.age,
            messages=self.messages,
            slow=self.side.times,
            last_slow=self.side.last,
        )

    @property
    def last_words(self) -> str:
        """The traceback that it reported, or else the end of its stderr."""
        return (self.failure.remote_traceback if self.failure else self.child.last_words()).strip()

    # ---- actions

    def kill(self, number: int, reason: Reason = "killed") -> None:
        """Sends the process a signal. Does nothing if it has ended.

        Args:
            number: The signal.
            reason: Why the worker ended, if it ends by this.
        """
        if self.life.process == "running":
            self.cause.sent(number, reason)
            self.child.send_signal(number)

    def tell_to_leave(self, seconds: float, reason: Reason = "told") -> None:
        """Tells the worker to leave within this many seconds. Told again, it has the shorter time.

        A worker without a running event loop can't read the frame, so it is sent SIGTERM as well.
        """
        if self.life.process == "exited":
            return
        is_sooner = self._deadline.set(seconds)
        if self.life.channel == "closed" or (self.life.is_leaving and not is_sooner):
            return
        is_first = not self.life.is_leaving
        self._leave(reason)
        self.channel.send(frames.Leave(float(seconds)).encode())
        if is_first and self.life.loop == "none":
            self._tell_by_signal()

    def _tell_by_signal(self) -> None:
        self.channel.flush()  # in the end it looks whether it was told
        self.cause.sent(signal.SIGTERM, self.cause.first or "told")
        self.child.tell_to_leave()

    def _leave(self, reason: Reason) -> None:
        self.cause.happened(reason)
        if self.life.move("leave"):
            self.backend.stop()
            self._changed()

    def _end_late(self, number: signal.Signals) -> None:
        logger.warning("worker %d (pid %d) has not left in time: %s", self.identity.id, self.pid, number.name)
        self.kill(number, "late")

    async def run(
        self, function: Callable[..., Any] | str, args: Sequence[Any], *, timeout: float | None = None
    ) -> Any:
        """Calls an importable function in the worker; see `Cluster.call`."""
        target = name_target(function, self.shared.settings.cwd, self.shared.folders)
        if not isinstance(target, frames.FunctionTarget):
            raise TargetError(f"{function!r} is no function")
        self.calls += 1
        try:
            return await self.conversation.request([pack_fields(target.array()), list(args)], timeout, frames.CALL)
        finally:
            self.calls -= 1

    # ---- frames

    def _receive(self, frame: RawFrame, take: TakeDescriptors) -> None:
        if type(frame) is not tuple:
            if frame[0] not in frames.FLOW:
                self._dispatch[frame[0]](frame, take)
                return
            frame = flow_fields(frame)
        if frame[0] < frames.TOPIC:
            self.shared.router.route(self, frame, take)
        else:
            if frame[0] == frames.TOPIC:
                self.messages += frame[2]
            self._member.receive(frame)

    def _on_online(self, frame: frames.Online) -> None:
        self.life.move("online")
        self.has_been_online = True
        self.serves_app = frame.is_app
        self._online_since = time.monotonic()
        logger.info("worker %d (pid %d) is online", self.identity.id, self.pid, extra=_AS_EVENT)
        self.shared.router.join(self)
        self._changed()
        self._emit(Online(self.worker))

    def _on_attached(self, frame: frames.Attached) -> None:
        self.life.move("attach")
        self._reported_at = time.monotonic()
        self.heartbeat = self._heartbeat
        self._await_report(SILENT * self.heartbeat)
        self._changed()

    def _on_detached(self, frame: frames.Detached) -> None:
        self.life.move("detach")
        self.backend.detached()
        self._await_no_report()
        if self.life.is_leaving and not self._has_heard:  # there may be no other loop to read it
            self._tell_by_signal()
        self._changed()

    def _on_report(self, frame: frames.Report) -> None:
        is_share = frame.busy is None or 0 <= frame.busy <= 1
        is_time = 0 <= frame.delay < math.inf and 0 < frame.within <= frames.REST * self._heartbeat
        if not (is_share and is_time and frame.memory >= 0 and frame.tasks >= 0):
            raise ProtocolError(f"impossible numbers: {frame}")  # policies compare them
        now = time.monotonic()
        seconds, self._reported_at = now - self._reported_at, now
        self.delay, self.memory, self.tasks = float(frame.delay), frame.memory, frame.tasks
        self.backend.reported(self.delay, frame.busy, seconds)
        is_awake, self.heartbeat = frame.within < self.heartbeat, float(frame.within)
        if is_awake:
            self._await_report(SILENT * self.heartbeat)

    def _on_spent(self, frame: frames.Spent) -> None:
        self.spent = frame.why
        self._changed()

    def _on_counted(self, frame: frames.Counted) -> None:
        if self.shared.numbers is not None:
            self.shared.numbers.counted(self, frame)

    def _on_ask_page(self, frame: frames.AskPage) -> None:
        if self.shared.numbers is None:
            self.backend.tell(frames.NoPage("there is no page: a Primary has none, only a Cluster"))
        else:
            self.shared.numbers.ask_page(self, frame)

    def _on_open_state(self, frame: frames.OpenState) -> None:
        if self.shared.state is None or len(self._openings) >= _OPENINGS:
            raise ProtocolError("it asks for a state that it does not have, or too often")
        task = asyncio.get_running_loop().create_task(self._open_state(self.shared.state, frame.number))
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)

    async def _open_state(self, state: StateProcess, number: int) -> None:
        """Gives the worker a channel to the state's process, or says why not."""
        try:
            sock = await state.open()
        except (ClusterError, OSError) as error:
            if not self.channel.is_closed:
                self.channel.send(frames.StateRefused(number, str(error)).encode())
            return
        if self.channel.is_closed:
            sock.close()
        else:
            self.channel.send(frames.StateOpened(number).encode(), [sock.fileno()], release=sock.close)

    def _await_report(self, seconds: float) -> None:
        self._await_no_report()
        self._silence = asyncio.get_running_loop().call_later(seconds, self._check_report)

    def _await_no_report(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _check_report(self) -> None:
        """Whether it has reported in time. One timer runs on through many reports."""
        left = self._reported_at + SILENT * self.heartbeat - time.monotonic()
        if left <= 0:
            left = SILENT * self.heartbeat
            self.backend.silent(left)
        self._await_report(left)

    def _on_slow(self, found: SlowLoop) -> None:
        text = "worker %d (pid %d): its event loop has been blocked for %.2f s, at %s"
        logger.warning(text, self.identity.id, self.pid, found.seconds, found.where, extra=_AS_EVENT)
        self._emit(Slow(self.worker, found.seconds, found.where))

    def _on_ran_again(self, found: SlowLoop) -> None:
        text = "worker %d (pid %d): its event loop runs again, after %.2f s, at %s"
        logger.warning(text, self.identity.id, self.pid, found.seconds, found.where)

    def _on_listening(self, address: Address) -> None:
        self.life.move("listen")
        logger.info("worker %d (pid %d) listens on %s", self.identity.id, self.pid, address, extra=_AS_EVENT)
        self._changed()
        self._emit(Listening(self.worker, address))

    def _on_failed(self, frame: frames.Failed) -> None:
        self.life.move("fail")
        self.cause.happened("failed")
        self._deadline.set(self.shared.settings.graceful_timeout)
        self.failure = RemoteError(frame.type_name, frame.text, frame.traceback)
        self.repeats = frame.repeats
        self.refused = None if frame.errno is None else (frame.errno, frame.address)
        if not frame.is_told:
            self.is_failure_told = False
            self.shared.untold(self)
        self.backend.stop()
        self._changed()
        self._emit(Error(self.worker, self.failure))

    def _on_leaving(self, frame: frames.Leaving) -> None:
        self._has_heard = True
        seconds = self.shared.settings.graceful_timeout if frame.seconds is None else frame.seconds
        if self._deadline.set(seconds):  # else it has been told to leave already, within less time
            self.channel.send(frames.Leave(float(seconds)).encode())
        self._leave("own")

    def _on_signalled(self, frame: frames.Signalled) -> None:
        """Waits a little: if the signal was for all, it has reached this process too, or soon will."""
        if frame.signal == signal.SIGTERM:
            asyncio.get_running_loop().call_later(_FOR_ALL_WITHIN, self._on_signalled_alone)

    def _on_signalled_alone(self) -> None:
        if not self.life.is_leaving and not self.shared.is_ending():
            self.kill(signal.SIGTERM)

    # ---- the end

    def _on_channel_end(self, error: Exception | None) -> None:
        self.life.move("close")
        self._await_no_report()
        if error is not None:
            logger.error("worker %d (pid %d) is dropped: %s", self.identity.id, self.pid, error)
            self.kill(signal.SIGKILL, "failed")
            self._emit(Error(self.worker, error))
        self._deadline.set(self.shared.settings.graceful_timeout)  # also if it has neither failed nor begun to leave
        self.shared.router.leave(self)
        self._member.leave()
        self.backend.leave()
        self._disconnected.set()
        self._closing = asyncio.get_running_loop().create_task(self.conversation.end())
        self._gone_if_both()
        self._changed()
        self._emit(Disconnect(self.worker))

    def _on_exit(self, end: ExitStatus) -> None:
        self.exit_status = end
        self.channel.finish()
        self.side.finish()
        self.life.move("exit")
        self._deadline.cancel()
        reason = self.cause.reason(end)
        who = (self.identity.id, self.pid)
        logger.info("worker %d (pid %d) has ended: %s, %s", *who, end, IN_WORDS[reason], extra=_AS_EVENT)
        event = Exit(self.worker, end.code, end.signal, reason)
        self.exit.set_result(event)
        self._gone_if_both()
        self._changed()
        self._emit(event)

    def _gone_if_both(self) -> None:
        """Removes a gone worker from the primary's table; as in Node, before its last event is emitted."""
        if self.life.is_gone:
            self.shared.gone(self)
            if self.shared.numbers is not None:
                self.shared.numbers.gone(self)

    async def wait_ready(self) -> None:
        """Returns when its event loop runs, or can no longer start."""
        await self._ready_or_over.wait()

    async def wait_gone(self) -> None:
        """Returns when it has both disconnected and exited."""
        await asyncio.shield(self.exit)
        await self._disconnected.wait()

    async def close(self) -> None:
        """Frees the remaining resources. The worker must be gone."""
        if self._closing is not None:
            await self._closing
        if self._openings:
            await asyncio.wait(self._openings)
