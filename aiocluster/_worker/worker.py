"""`Worker`: this process as a worker, as users have it. What it is and does is its `Session`'s."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._events.emitter import WorkerEvent
from .._no_constructor import NoConstructor
from .._wire.codec import pack
from .._wire.conversation import Conversation
from .._wire.peer import InboxPeer
from .._wire.windows import send_to_all
from ..errors import ChannelClosedError, WorkerNotFoundError

if TYPE_CHECKING:
    from .session import Session


class Worker(InboxPeer[WorkerEvent], metaclass=NoConstructor, made_by="current_worker()"):
    """This process as a worker of a cluster; `current_worker` returns it.

    What it inherits from a peer (`send`, `request`) goes to the primary.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._hub = session.inbox
        self._conversation = session.primary
        self._requests = session.requests

    def __repr__(self) -> str:
        return f"<Worker {self.id}, pid {self.pid}>"

    @property
    def id(self) -> int:
        """Its number within the primary, from 1 on."""
        return self._session.id

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
        """An agent's name; else None."""
        return self._session.config.name

    @property
    def peers(self) -> tuple[int, ...]:
        """The pids of the other connected workers, as of now; agents are reached by name."""
        return tuple(self._session.workers)

    def is_connected(self) -> bool:
        """Whether the primary is there."""
        return not self._session.channel.is_closed

    async def send_to(
        self, to: int | str, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False
    ) -> None:
        """Sends another worker a message, through the primary and in order.

        It waits only while that worker has 512 KiB of ours that it has not acknowledged. What it has not acknowledged
        when it goes comes back as the event ``undelivered``.

        Args:
            to: A pid, or an agent's name; the primary's pid is the primary.
            message: What msgpack carries; see the documentation's page on messages.
            handles: Sockets that go along. A connected one is closed here once it has been sent.
            keep_open: Keeps connected ones open here too.

        Raises:
            WorkerNotFoundError: There is no such worker.
            ChannelClosedError: It went while this waited, or the primary is gone.
            SerializationError: The message holds something that msgpack does not carry; nothing was sent.
            MessageTooLargeError: It has more than 64 MiB packed; nothing was sent.
        """
        peer = self._session.peers.get(to) or self._not_found(to)
        if handles:
            await peer.send(message, handles, keep_open=keep_open)
        elif wait := peer.put(message):
            await wait

    async def broadcast(self, message: Any) -> None:
        """Sends a message, packed once, to every other worker, no agent; waits for the slowest to have room."""
        body = pack(message)
        await send_to_all((peer.send_window for peer in self._session.workers.values()), body)

    async def send_random(self, message: Any) -> None:
        """Sends a message to one of the other workers, picked at random.

        Raises:
            WorkerNotFoundError: There is no other one.
        """
        peers = self.peers
        if not peers:
            raise WorkerNotFoundError("there is no other worker")
        number = int.from_bytes(os.urandom(8))  # the module random takes a while to import
        await self.send_to(peers[number % len(peers)], message)

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
        peer = self._session.peers.get(to) or self._not_found(to)
        return await peer.request(message, timeout)

    def _not_found(self, to: int | str) -> Conversation:
        session = self._session
        if to == session.config.primary_pid:
            return session.primary  # it is gone, and says so
        if session.channel.is_closed:
            raise ChannelClosedError("the primary is gone")
        what = "name" if isinstance(to, str) else "pid"
        pids = sorted(pid for pid in session.peers if isinstance(pid, int) and pid != session.config.primary_pid)
        raise WorkerNotFoundError(f"no connected worker has the {what} {to!r}; there are {pids or 'none'}")

    async def disconnect(self, *, timeout: float | None = None) -> None:
        """Leaves of its own accord, as if the primary had said so; returns when the leave has begun.

        Args:
            timeout: The seconds it takes at most before its main task is ended; None: the cluster's
                ``graceful_timeout``.
        """
        self._session.leave(self._session.config.graceful_timeout if timeout is None else timeout)
