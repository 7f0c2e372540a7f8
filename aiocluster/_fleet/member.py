"""`Member`: one cluster as a member of its fleet: what connects Redis, the roster and the router.

::

    workers ◀─▶ router ◀─▶ Member ─┬─ Roster: who is there, numbered batches (pure)
    topics  ◀─▶ board  ◀─▶         ├─ Backplane: two connections to Redis
    agents  ◀── reconciler ◀───────┴─ Lease: one for each agent that is the only one in the fleet
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from .._events.emitter import EventHub
from .._primary.router import Router
from .._primary.topics import Board
from .._processes.clock import now
from .._redis import url as urls
from .._redis.cluster_line import ClusterLine
from .._redis.line import Commands, Line
from .._wire.frames import BackplaneChanged, Remote
from .._wire.mailbox import Requests
from .._wire.windows import SendWindow
from ..errors import BackplaneError, BackplaneStartupError, ProtocolError
from ..events import Backplane as BackplaneEvent
from .backplane import Backplane, within
from .lease import Lease
from .letters import Beat, Bye, parse
from .names import Names
from .numbers import Numbers
from .own import OwnConversations
from .roster import BEATS, Roster
from .topics import TopicUplink

logger = logging.getLogger("aiocluster.fleet")

_ACK_WITHIN = 0.02  # seconds
_SHORTEST = 1.0  # seconds that a connection may take, however short the lease is
_LAST = 1.0  # seconds that what workers have sent at last may take to leave


class Member:
    """This cluster in its fleet.

    Args:
        url: The URL of the backplane.
        fleet: The fleet's name.
        lease: Seconds after which a silent cluster is gone.
        agents: The agents of which the fleet has one.
        router: This cluster's workers.
        board: This cluster's topics.
        hub: Emits ``backplane``, and what other clusters send to this process itself.
        requests: Holds the handler of their requests.

    Attributes:
        name: The fleet's name.
        host: This cluster's name in it.
        error: Why the fleet can't be reached; None: it can.
        leases: The leases of these agents, by name.
        leases_changed: Called when a lease has been taken or lost.
        told: Called with `error` when it has changed.

    Raises:
        BackplaneError: That is not the URL of a Redis.
    """

    def __init__(
        self,
        url: str,
        fleet: str,
        lease: float,
        agents: Iterable[str],
        router: Router,
        board: Board,
        hub: EventHub,
        requests: Requests,
    ) -> None:
        self.name = fleet
        self.host: str = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self.error: BackplaneError | None = None
        self.leases_changed: Callable[[], None] = lambda: None
        self.told: Callable[[BackplaneError | None], None] = lambda error: None
        self._url = urls.parse(url)
        self._lease = lease
        self._router = router
        self._hub = hub
        self._names = Names(self._url.prefix, fleet)
        self._own = OwnConversations(hub, requests, self._send_own)
        self._roster = Roster(self.host, lease, Numbers(router, board, self._own.left))
        self._roster.add(os.getpid(), False)
        self._epoch = self._roster.epoch
        self._backplane = Backplane(
            self._url, max(_SHORTEST, lease / BEATS), self, [self._names.all, self._names.host(self.host)]
        )
        self._board = board
        self._topics = TopicUplink(self.host, self._names, self._backplane, board)
        self._is_in = asyncio.Event()
        self._heard = 0.0  # when the last of its own beats was heard
        patient = within(self._url, max(_SHORTEST, lease / BEATS))
        self._line: Commands = ClusterLine(patient) if patient.kind == "cluster" else Line(patient)
        self.leases: Mapping[str, Lease] = MappingProxyType(
            {name: Lease(name, self.host, lease, self._names, self._line, self._leases_changed) for name in agents}
        )
        self._beat: asyncio.TimerHandle | None = None
        self._flush: asyncio.Handle | None = None
        self._ack: asyncio.TimerHandle | None = None

    # ---- its life

    async def begin(self, timeout: float) -> None:
        """Joins the fleet.

        Args:
            timeout: Seconds that this may take.

        Raises:
            BackplaneStartupError: The backplane can't be had.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                await self._backplane.begin()
                self._beat = loop.call_later(self._lease / BEATS, self._on_time)
                await self._is_in.wait()
        except BackplaneError as error:
            raise BackplaneStartupError(str(error)) from None
        except TimeoutError:
            raise BackplaneStartupError(
                f"{self._url} has not passed on what was published within {timeout:g} s: is it reachable, and may this "
                "user publish and subscribe?"
            ) from None
        self._router.connect(self)
        self._board.connect(self._topics)
        for lease in self.leases.values():
            lease.begin()

    async def end(self) -> None:
        """Leaves the fleet. All workers and agents must have ended."""
        await asyncio.gather(*(lease.end() for lease in self.leases.values()))
        self._board.disconnect()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST):
                while self._backplane.is_up and self._roster.has_more:
                    await asyncio.sleep(_ACK_WITHIN)
        await self._own.close()
        for timer in (self._beat, self._ack, self._flush):
            if timer is not None:
                timer.cancel()
        if self._backplane.is_up:
            self._roster.stop()
            self._flush_now()
            if self._ack is not None:
                self._ack.cancel()
        await self._backplane.end()
        await self._line.close()

    def _leases_changed(self) -> None:
        self.leases_changed()

    @property
    def members(self) -> Mapping[str, tuple[int, ...]]:
        """The pids of each cluster's workers, by host."""
        self._look()
        return self._roster.members

    def own_windows(self) -> Iterable[SendWindow]:
        """The flows from this process to the workers of other clusters."""
        return self._own.windows(self._router.remotes)

    # ---- time

    def _on_time(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(self._lease / BEATS, self._on_time)
        at = now()
        if self._backplane.is_up:
            if at - self._heard > 2 * self._lease / BEATS:
                self._backplane.give_up("what was published has not come back")
            self._roster.beat(at)
            self._schedule()
        self._look()

    def _look(self) -> None:
        """What has happened may have taken this cluster out of the fleet, or back into it."""
        roster = self._roster
        at = now()
        roster.look(at)
        if roster.epoch != self._epoch:
            self._epoch = roster.epoch
            logger.warning("out of touch with the fleet %s for longer than the lease: it is joined anew", self.name)
            if self._backplane.is_up:
                roster.beat(at)
                self._schedule()
        if roster.is_in and not self._is_in.is_set():
            self._is_in.set()
        elif not roster.is_in:
            self._is_in.clear()

    # ---- out

    def _schedule(self) -> None:
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_soon(self._flush_now)

    def _flush_now(self, *, acks: bool = False) -> None:
        self._flush = None
        if not self._backplane.is_up:
            return
        for host, data in self._roster.due(now(), acks=acks):
            self._backplane.publish(self._names.all if host is None else self._names.host(host), data)
        if self._ack is None and self._roster.owes_acks:
            self._ack = asyncio.get_running_loop().call_later(_ACK_WITHIN, self._on_ack_due)

    def _on_ack_due(self) -> None:
        self._ack = None
        self._flush_now(acks=True)

    # ---- the router

    def send(self, to: Remote, kind: int, sender: int, number: int, body: bytes) -> None:
        """A frame of a worker of this cluster for a process of another one."""
        self._roster.send(to.host, (kind, sender, to.pid, number, body))
        self._schedule()

    def _send_own(self, to: int, kind: int, number: int, body: bytes) -> None:
        remote = self._router.remote(to)
        if remote is not None:
            self.send(remote, kind, os.getpid(), number, body)

    def receive(self, sender: Remote, kind: int, number: int, body: bytes) -> None:
        """A frame from another cluster for this process."""
        try:
            self._own.receive(sender, kind, number, body)
        except ProtocolError as error:  # the sender's fault, not its cluster's
            logger.error("%s/%d sent an invalid message: %s", sender.host, sender.pid, error)

    def joined(self, pid: int, is_worker: bool) -> None:
        """A worker or an agent of this cluster is online."""
        self._roster.add(pid, is_worker)
        self._schedule()

    def left(self, pid: int) -> None:
        """It is gone."""
        self._roster.remove(pid)
        self._schedule()

    @property
    def news(self) -> bytes | None:
        """What workers that start are to know: the frame that says why the fleet can't be reached."""
        return None if self.error is None else BackplaneChanged(False, str(self.error)).encode()

    # ---- the backplane

    def connected(self) -> None:
        """There are connections to Redis."""
        if self.error is not None:
            logger.info("the fleet %s can be reached again", self.name)
        self.error = None
        self._heard = now()
        self._roster.reconnected(now())
        self._look()
        self._schedule()
        self._tell()

    def disconnected(self, error: BackplaneError) -> None:
        """There are none any more."""
        self.error = error
        logger.warning("the fleet %s can't be reached: %s", self.name, error)
        self._tell()

    def _tell(self) -> None:
        self._router.tell_all(BackplaneChanged(self.error is None, str(self.error or "")).encode())
        self.told(self.error)
        self._hub.emit(BackplaneEvent(self.error is None, self.error))

    def heard(self, channel: str, data: bytes) -> None:
        """Something has been published."""
        if (topic := self._names.topic_of(channel)) is not None:
            self._topics.heard(topic, data)
            return
        letter = parse(data)
        if isinstance(letter, Beat) and letter.host == self.host:
            self._heard = now()
        elif isinstance(letter, Bye):
            for lease in self.leases.values():
                lease.hurry()
        try:
            self._roster.receive(letter, now())
        except ProtocolError as error:
            logger.error("%s", error)
        self._look()
        self._schedule()
