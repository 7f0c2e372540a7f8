"""One worker as the primary sees it: its life, its channel, its events."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._events.emitter import Emitter, EventHub, WorkerProcessEvent
from .._processes.exit_status import ExitStatus
from .._processes.pipes import PipeReader
from .._wire import frames as kinds
from .._wire.channel import Channel
from .._wire.codec import Frame, encode
from .._wire.conversation import Conversation, RequestHandler, TakeDescriptors
from ..address import Address
from ..errors import ProtocolError, RemoteError, TargetError
from ..events import Disconnect, Error, Event, Exit, Fork, Listening, Online
from ..stats import WorkerStats
from .launch import Child
from .mailbox import WorkerMailbox
from .ports.backend import Backend
from .ports.table import Listeners
from .target import name_target

if TYPE_CHECKING:
    from .router import Router

logger = logging.getLogger("aiocluster.primary")

LIFE: Mapping[str, frozenset[str]] = {
    "starting": frozenset({"online", "disconnecting", "disconnected", "dead"}),
    "online": frozenset({"listening", "disconnecting", "disconnected", "dead"}),
    "listening": frozenset({"disconnecting", "disconnected", "dead"}),
    "disconnecting": frozenset({"disconnected", "dead"}),
    "disconnected": frozenset({"dead"}),
    "dead": frozenset(),
}
"""A worker's life: from each state, those that may follow."""


class WorkerProcess(Emitter[WorkerProcessEvent]):
    """A worker, in the primary. `Primary.fork` makes them; its events are limited to this worker.

    Attributes:
        id: Its number within the primary, from 1 on; never used twice.
        pid: Its process id.
        env: What `Primary.fork` was given as ``env``.
        name: An agent's name; else None.
        exited_after_disconnect: Whether it left because it was told to or wanted to; None until it has exited.
        exit_code: Its exit code; None while it lives, or if a signal ended it.
        exit_signal: The signal that ended it; None while it lives, or if it ended by itself.
        backend: Its place at the shared ports.
        loop_delay: Seconds its event loop was late at its last report.
        memory: Bytes of resident memory at its last report; 0 before the first.
        tasks: How many asyncio tasks it had at its last report.
        calls: How many functions it runs for `Cluster.call`.
        stdout: Its output as an anyio byte stream if it is silent; else None.
        stderr: Likewise.
    """

    def __init__(
        self,
        id: int,
        child: Child,
        channel: Channel,
        *,
        env: Mapping[str, str],
        weight: int,
        slot: int,
        scheduling: Any,
        name: str | None,
        graceful_timeout: float,
        hub: EventHub,
        router: Router,
        listeners: Listeners,
        request_handler: Callable[[], RequestHandler | None],
        gone: Callable[[WorkerProcess], None],
    ) -> None:
        self.id = id
        self.pid: int = child.pid
        self.env = env
        self.name = name
        self.exited_after_disconnect: bool | None = None
        self.exit_code: int | None = None
        self.exit_signal: signal.Signals | None = None
        self.backend: Backend = Backend(
            channel, listeners, weight=weight, slot=slot, scheduling=scheduling, listening=self._on_listening
        )
        self.loop_delay: float = 0.0
        self.memory: int = 0
        self.tasks: int = 0
        self.calls: int = 0
        self.stdout: PipeReader | None = PipeReader(child.stdout) if child.stdout is not None else None
        self.stderr: PipeReader | None = PipeReader(child.stderr) if child.stderr is not None else None
        self.channel = channel
        self._hub = EventHub(hub)
        mailbox = WorkerMailbox(self, self._hub, request_handler)
        self.conversation: Conversation = Conversation(
            channel, os.getpid(), child.pid, f"worker {id} (pid {child.pid})", mailbox
        )
        self.failure: RemoteError | None = None
        self.early_stderr: str = ""
        self._child = child
        self._router = router
        self._gone = gone
        self._state = "starting"
        self._graceful_timeout = graceful_timeout
        self._is_attached = False
        self._online_since: float | None = None
        self._heard_at = 0.0
        self._is_voluntary = False
        self._happened: dict[str, Event] = {}
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._disconnected = asyncio.Event()
        self._unfit = asyncio.Event()
        self._at_work = asyncio.Event()  # or unfit
        self._ending: asyncio.Task[None] | None = None
        self._receivers: dict[int, Callable[..., None]] = {
            kinds.ONLINE: self._on_online,
            kinds.ATTACHED: self._on_attached,
            kinds.DETACHED: self._on_detached,
            kinds.REPORT: self._on_report,
            kinds.FAILED: self._on_failed,
            kinds.LEAVING: self._on_leaving,
            **self.backend.receivers,
        }
        channel.attach(asyncio.get_running_loop(), self._receive, self._on_channel_end)
        child.watch(self._on_exit)
        asyncio.get_running_loop().call_soon(self._emit, Fork(self))

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.id}, pid {self.pid}, {self._state}>"

    # ---- its life

    @property
    def state(self) -> str:
        """``starting``, ``online``, ``listening``, ``disconnecting``, ``disconnected`` or ``dead``."""
        return self._state

    def _become(self, state: str) -> bool:
        """Moves on to this state if its life allows it; says whether it did."""
        if state not in LIFE[self._state]:
            return False
        self._state = state
        return True

    def _emit(self, event: Event) -> None:
        self._happened[event.name] = event
        self._hub.emit(event)

    def is_connected(self) -> bool:
        """Whether its channel is open."""
        return not self.channel.is_closed

    @property
    def is_unfit(self) -> bool:
        """Whether it will serve no more: it has failed, its channel has closed, or its process has ended."""
        return self._unfit.is_set()

    def is_dead(self) -> bool:
        """Whether its process has ended."""
        return self._exit.done()

    @property
    def is_at_work(self) -> bool:
        """Whether its event loop runs, and it is neither leaving nor failing."""
        return self._is_attached and self.backend.takes_connections and not self.channel.is_closed

    @property
    def silence(self) -> float | None:
        """Seconds since its event loop last reported; None if it runs none."""
        return time.monotonic() - self._heard_at if self._is_attached else None

    @property
    def age(self) -> float:
        """Seconds since it came online; 0 before."""
        return time.monotonic() - self._online_since if self._online_since is not None else 0.0

    @property
    def is_leaving(self) -> bool:
        """Whether it was told to leave, or said that it does."""
        return self._is_voluntary

    @property
    def weight(self) -> int:
        """Its share under weighted scheduling."""
        return self.backend.weight

    @property
    def connections(self) -> int:
        """How many connections it has open that it took from a shared port."""
        return self.backend.open

    async def wait(self) -> Exit:
        """Returns how its process ended, as soon as it has."""
        return await asyncio.shield(self._exit)

    async def wait_at_work(self) -> None:
        """Returns when it `is_at_work` or `is_unfit`."""
        await self._at_work.wait()

    async def wait_unfit(self) -> None:
        """Returns when it `is_unfit`."""
        await self._unfit.wait()

    async def wait_listening(self, ports: int) -> None:
        """Returns when it listens on that many shared ports."""
        while len(self.backend.ports) < ports:
            await self._hub.next(Listening.name)

    async def wait_gone(self) -> None:
        """Returns when it has both disconnected and exited."""
        await asyncio.shield(self._exit)
        await self._disconnected.wait()

    def kill(self, signal: signal.Signals | int = signal.SIGTERM) -> None:
        """Sends its process a signal; nothing if it has ended. An end by `kill` counts as unasked."""
        self._child.send_signal(signal)

    async def disconnect(self, *, timeout: float | None = None) -> None:
        """Tells it to leave, and returns when it is gone. Such an exit is voluntary.

        It takes no more connections at once; those it has may finish, and the application's own shutdown runs. A worker
        that runs no event loop has no way to hear of it and is sent SIGTERM.

        Args:
            timeout: The seconds it is given before it ends its main task, finished or not; None: the setting
                ``graceful_timeout``. Nobody enforces it from outside: that is a matter of policy, see `Cluster`.
        """
        self.tell_to_leave(self._graceful_timeout if timeout is None else timeout)
        await self.wait_gone()

    def tell_to_leave(self, timeout: float) -> None:
        """What `disconnect` does at once; a second call changes nothing."""
        if self.channel.is_closed or self.is_dead() or not self._become("disconnecting"):
            return
        self._is_voluntary = True
        self.backend.stop(for_good=True)
        self.channel.send(encode(kinds.LEAVE, float(timeout)))
        if not self._is_attached:
            self.kill()

    def stats(self) -> WorkerStats:
        """What is known of it now."""
        return WorkerStats(
            id=self.id,
            pid=self.pid,
            name=self.name,
            state=self._state,
            connections=self.connections,
            accepted=self.backend.accepted,
            returned=self.backend.returned,
            redispatched=self.backend.redispatched,
            calls=self.calls,
            loop_delay=self.loop_delay,
            memory=self.memory,
            tasks=self.tasks,
            age=self.age,
        )

    # ---- messages

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        """Sends it a message; waits only while it has 512 KiB of ours that it has not confirmed.

        Args:
            message: What msgpack carries; see the documentation's page on messages.
            handles: Sockets that go along. A connected one is closed here once it has been sent.
            keep_open: Keeps connected ones open here too.

        Raises:
            ChannelClosedError: It is gone.
            SerializationError: The message holds something else; nothing was sent.
            MessageTooLargeError: It has more than 64 MiB packed; nothing was sent.
        """
        if handles:
            await self.conversation.send(message, handles, keep_open=keep_open)
        elif wait := self.conversation.put(message):
            await wait

    async def request(self, message: Any, *, timeout: float | None = None) -> Any:
        """Sends it a request and returns what its handler (`Worker.handle_requests`) replies.

        Args:
            message: Like a message's.
            timeout: Seconds to wait at most; None waits as long as it lives.

        Raises:
            RemoteError: Its handler raised, or it has none.
            TimeoutError: No reply came in time; a late one is dropped.
            ChannelClosedError: It is gone, or went before it replied.
            SerializationError: As for `send`.
            MessageTooLargeError: As for `send`.
        """
        return await self.conversation.request(message, timeout)

    async def run(
        self, function: Callable[..., Any] | str, args: Sequence[Any], *, timeout: float | None = None
    ) -> Any:
        """Calls an importable function in the worker, a sync one in a thread, and returns what it returns.

        Raises:
            TargetError: The worker could not find the function.
            RemoteError: It raised.
            TimeoutError: It did not return in time; an async one is cancelled, a sync one runs on in its thread.
            ChannelClosedError: The worker is gone, or went before it returned.
            SerializationError: msgpack can't carry an argument.
        """
        named = name_target(function)
        if named["kind"] != "function":
            raise TargetError(f"{function!r} is no function")
        self.calls += 1
        try:
            return await self.conversation.request([named, list(args)], timeout, kinds.CALL)
        finally:
            self.calls -= 1

    # ---- frames

    def _receive(self, frame: Frame, take: TakeDescriptors) -> None:
        kind = frame[0]
        if kind in kinds.FLOW:
            self._router.route(self, frame, take)
            return
        receiver = self._receivers.get(kind)
        if receiver is None:
            raise ProtocolError(f"a worker sent a frame of unknown kind {kind}")
        receiver(*frame[1:])

    def _on_online(self) -> None:
        self._child.close()
        self._online_since = time.monotonic()
        logger.info("worker %d (pid %d) is online", self.id, self.pid)
        if self._become("online") or self._state == "disconnecting":
            self._router.join(self)
            self._emit(Online(self))

    def _on_attached(self) -> None:
        self._is_attached = True
        self._heard_at = time.monotonic()
        self._at_work.set()

    def _on_detached(self) -> None:
        self._is_attached = False
        if not self.is_unfit:
            self._at_work.clear()

    def _on_report(self, delay: float, memory: int, tasks: int) -> None:
        self._heard_at = time.monotonic()
        self.loop_delay, self.memory, self.tasks = float(delay), int(memory), int(tasks)
        self.backend.late(self.loop_delay)

    def _on_listening(self, address: Address) -> None:
        self._become("listening")
        logger.info("worker %d (pid %d) listens on %s", self.id, self.pid, address)
        self._emit(Listening(self, address))

    def _on_failed(self, type_name: str, text: str, trace: str) -> None:
        self.failure = RemoteError(type_name, text, trace)
        self.backend.stop(for_good=False)
        self._unfit.set()
        self._at_work.set()
        self._emit(Error(self, self.failure))

    def _on_leaving(self) -> None:
        if self._become("disconnecting"):
            self._is_voluntary = True
            self.backend.stop(for_good=True)

    # ---- the end

    def _on_channel_end(self, error: Exception | None) -> None:
        self._become("disconnected")
        if error is not None:
            logger.error("%r is dropped: %s", self, error)
            self.kill(signal.SIGKILL)
            self._emit(Error(self, error))
        self._router.leave(self)
        self.backend.leave(voluntary=self._is_voluntary)
        self._disconnected.set()
        self._unfit.set()
        self._at_work.set()
        self._ending = asyncio.get_running_loop().create_task(self.conversation.end())
        self._gone_if_both()
        self._emit(Disconnect(self))

    def _on_exit(self, end: ExitStatus) -> None:
        self.early_stderr = self._child.take_early_stderr()
        self.channel.finish()
        self.exit_code, self.exit_signal = end.code, end.signal
        self.exited_after_disconnect = self._is_voluntary
        self._become("dead")
        logger.info("worker %d (pid %d) has ended: %s", self.id, self.pid, end)
        event = Exit(self, end.code, end.signal)
        self._exit.set_result(event)
        self._unfit.set()
        self._at_work.set()
        self._gone_if_both()
        self._emit(event)

    def _gone_if_both(self) -> None:
        """As in Node, it is out of the primary's table before the last of its events."""
        if self._exit.done() and self._disconnected.is_set():
            self._gone(self)

    async def close(self) -> None:
        """Frees what is left of it here; it must be gone."""
        if self._ending is not None:
            await self._ending
        self._child.close()


def startup_text(worker: WorkerProcess, what: str) -> str:
    """Why a worker that never came up did not: its traceback, or the tail of its stderr."""
    how = ExitStatus(worker.exit_code, worker.exit_signal)
    told = worker.failure.remote_traceback if worker.failure else worker.early_stderr
    return f"worker {worker.id} (pid {worker.pid}) ended before it was {what}, by {how}\n\n{told.strip()}"
