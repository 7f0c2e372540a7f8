"""`Worker`: the public object for this process as a worker. Its `Session` holds the state and does the work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._events.emitter import WorkerEvent
from .._no_constructor import NoConstructor
from .._wire.codec import pack
from .._wire.conversation import Conversation
from .._wire.frames import AFAR
from .._wire.peer import InboxPeer
from .._wire.topic_peer import TopicPeer
from .._wire.windows import send_to_all
from ..errors import ChannelClosedError, ClusterError, WorkerNotFoundError

if TYPE_CHECKING:
    from .._state.state import State
    from .._wire.topics import Topics
    from ..fleet import Fleet
    from .session import Session


NO_FLEET = "this cluster is in no fleet: start it with Cluster(backplane=…, fleet=…)"


class Worker(InboxPeer[WorkerEvent], TopicPeer, metaclass=NoConstructor, made_by="current_worker()"):
    """This process as a worker of a cluster; `current_worker` returns it.

    The inherited methods (`send`, `request`) talk to the primary.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._hub = session.inbox
        self._conversation = session.primary
        self._requests = session.requests
        self._fleet: Fleet | None = None

    def __repr__(self) -> str:
        return f"<Worker {self.id}, pid {self.pid}>"

    @property
    def id(self) -> int:
        """Its number in the primary, from 1 on."""
        return self._session.id

    @property
    def slot(self) -> int | None:
        """Its place among the workers, from 0 on, which its replacement inherits; None for an agent.

        The environment variable ``AIOCLUSTER_SLOT`` has it, too. See `WorkerProcess.slot`.
        """
        return self._session.config.slot

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._session.pid

    @property
    def primary_pid(self) -> int:
        """The primary's process id."""
        return self._session.config.primary_pid

    @property
    def name(self) -> str | None:
        """The agent's name; None for other workers."""
        return self._session.config.name

    @property
    def peers(self) -> tuple[int, ...]:
        """The pids of the other workers connected now, without agents, which are addressed by name."""
        return tuple(self._session.workers)

    @property
    def fencing_token(self) -> int | None:
        """Of an agent with ``once="fleet"``: a number that is higher than that of each one before it in the fleet.

        Have whatever the agent writes to refuse lower numbers than it has seen: then a process that does not know yet
        that it is no longer the one can do no harm. None for all others.
        """
        return self._session.config.token

    @property
    def fleet(self) -> Fleet:
        """The fleet that this worker's cluster is one of.

        Raises:
            ClusterError: It is in none.
        """
        if self._fleet is None:
            from .fleet import fleet_of

            self._fleet = fleet_of(self._session)
        return self._fleet

    @property
    def state(self) -> State:
        """The state that all workers of the cluster share.

        Raises:
            ClusterError: A bare `Primary` has started this worker, which has no state.
        """
        url = self._session.config.state
        if url is None:
            raise ClusterError("there is no state: a Primary has none, only a Cluster")
        return self._session.state(url).state

    def is_connected(self) -> bool:
        """Whether the channel to the primary is open."""
        return not self._session.channel.is_closed

    async def send_to(
        self, to: int | str, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False
    ) -> None:
        """Sends another worker a message, through the primary and in order.

        It waits only while 512 KiB sent to that worker are not acknowledged. If the worker goes, what it has not
        acknowledged comes back as the event ``undelivered``.

        Args:
            to: A pid or an agent's name. The primary's pid addresses the primary; ``"host/pid"`` a worker of another
                cluster of the fleet (`Fleet.members`).
            message: Anything that msgpack can carry; see the documentation's page on messages.
            handles: Sockets to send along, but not to another cluster. A connected one is closed here once it has been
                sent.
            keep_open: Keeps connected sockets open here too.

        Raises:
            WorkerNotFoundError: There is no such worker.
            ChannelClosedError: The worker went while this waited, or the primary is gone.
            HandleError: Sockets can't be sent to another cluster.
            SerializationError: The message holds something that msgpack can't carry. Nothing was sent.
            MessageTooLargeError: The packed message is larger than 64 MiB. Nothing was sent.
        """
        peer = self._session.peers.get(to) or self._not_found(to)
        if handles:
            await peer.send(message, handles, keep_open=keep_open)
        elif wait := peer.send_window.put_message(message):
            await wait

    async def broadcast(self, message: Any) -> None:
        """Sends a message to every other worker except agents. Waits until the slowest worker has room for it.

        One that has no room, and has acknowledged nothing for 30 seconds, does not get it, which is logged: it is
        stopped, or blocked, or runs no event loop.
        """
        body = pack(message)
        await send_to_all((peer.send_window for peer in self._session.workers.values()), body)

    async def send_random(self, message: Any) -> None:
        """Sends a message to another worker, picked at random.

        Raises:
            WorkerNotFoundError: There is no other worker.
        """
        peers = self.peers
        if not peers:
            raise WorkerNotFoundError("there is no other worker")
        number = int.from_bytes(os.urandom(8))  # the module random takes a while to import
        await self.send_to(peers[number % len(peers)], message)

    async def request_to(self, to: int | str, message: Any, *, timeout: float | None = None) -> Any:
        """Sends another worker a request, and returns its handler's reply.

        Args:
            to: A pid, an agent's name, or ``"host/pid"``; see `send_to`.
            message: As for `send_to`.
            timeout: Seconds to wait at most; None waits as long as that worker lives.

        Raises:
            WorkerNotFoundError: There is no such worker.
            RemoteError: The handler raised, or the worker has none.
            TimeoutError: No reply came in time. A late reply is dropped.
            ChannelClosedError: The worker went before it replied.
            SerializationError: As for `send_to`.
            MessageTooLargeError: As for `send_to`.
        """
        peer = self._session.peers.get(to) or self._not_found(to)
        return await peer.request(message, timeout)

    def _begin_topics(self) -> Topics:
        self._topics = self._session.topics()
        return self._topics

    def _not_found(self, to: int | str) -> Conversation:
        session = self._session
        if to == session.config.primary_pid:
            return session.primary  # it is gone; using it raises that error
        if session.channel.is_closed:
            raise ChannelClosedError("the primary is gone")
        if isinstance(to, str) and "/" in to:
            return self._find_remote(to)
        what = "name" if isinstance(to, str) else "pid"
        own = session.config.primary_pid
        pids = sorted(pid for pid in session.peers if isinstance(pid, int) and pid != own and pid < AFAR)
        raise WorkerNotFoundError(f"no connected worker has the {what} {to!r}; there are {pids or 'none'}")

    def _find_remote(self, to: str) -> Conversation:
        session = self._session
        peer = session.remotes.find(to)
        if peer is None:
            if not session.config.host:
                raise ClusterError(NO_FLEET)
            host, _, pid = to.rpartition("/")
            if host == session.config.host and pid.isascii() and pid.isdigit():
                return session.peers.get(int(pid)) or self._not_found(int(pid))
            hosts = ", ".join(session.remotes.members) or "no other cluster"
            raise WorkerNotFoundError(f"no worker of the fleet is {to!r}; there is {hosts}")
        return peer

    async def disconnect(self, *, timeout: float | None = None) -> None:
        """Leaves as if the primary had asked for it. Returns when leaving has begun.

        Args:
            timeout: Seconds until its main task is ended, finished or not; None: the cluster's ``graceful_timeout``.
        """
        self._session.leave(timeout)
