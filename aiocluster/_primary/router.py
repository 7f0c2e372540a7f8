"""Worker to worker, by pid: frames are passed on without a look inside.

::

    worker A ──[kind, B, n, bin]──▶ router ──[kind, A, n, bin]──▶ worker B
                                      │
                                      └─ B is the primary's own pid: this process hears it
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from .._wire import frames as kinds
from .._wire.codec import RawFrame, encode, flow_fields
from .._wire.frames import PeerJoined, PeerLeft
from ..errors import ProtocolError

if TYPE_CHECKING:
    from .._wire.frame import TakeDescriptors
    from .session import Session


class Router:
    """The workers by pid. Each knows its peers: those that are online and connected."""

    def __init__(self) -> None:
        self._own_pid = os.getpid()
        self._workers: dict[int, Session] = {}
        self._peers: dict[int, str | None] = {}

    def add(self, worker: Session) -> dict[int, str | None]:
        """A worker starts: it hears of what changes from now on. Returns the peers of now, as names by pid."""
        self._workers[worker.pid] = worker
        return dict(self._peers)

    def join(self, worker: Session) -> None:
        """A worker is online: the others learn of it."""
        name = self._peers[worker.pid] = worker.identity.name
        self._tell_others(worker, PeerJoined(worker.pid, name).encode())

    def leave(self, worker: Session) -> None:
        """A worker's channel is closed, and all it sent has been passed on."""
        if self._workers.get(worker.pid) is worker:
            del self._workers[worker.pid]
            if self._peers.pop(worker.pid, self) is not self:
                self._tell_others(worker, PeerLeft(worker.pid).encode())

    def _tell_others(self, worker: Session, frame: bytes) -> None:
        for other in self._workers.values():
            if other is not worker and not other.channel.is_closed:
                other.channel.send(frame)

    def route(self, sender: Session, frame: RawFrame, take: TakeDescriptors) -> None:
        """Passes a frame on to the worker it names; to nobody if there is none.

        The sender of a frame for a worker that has just gone learns so from ``PEER_LEFT``.

        Raises:
            ProtocolError: It is no such frame.
        """
        kind, peer, number, body = flow_fields(frame)
        if kind == kinds.CALL:
            raise ProtocolError("a worker has asked to run code in another process")
        if peer == self._own_pid:
            sender.conversation.receive(kind, number, body, take)
            return
        descriptors = take() if kind == kinds.HANDLES and number > 0 else None
        worker = self._workers.get(peer)
        if worker is None or worker.channel.is_closed:
            if descriptors is not None:
                descriptors.close()
        elif descriptors is None:
            worker.channel.send(encode(kind, sender.pid, number, body))
        elif len(descriptors) != number:
            descriptors.close()
            worker.channel.send(self._without(sender, worker, number, body))
        else:
            without = partial(self._without, sender, worker, number, body)
            whole = encode(kind, sender.pid, number, body)
            worker.channel.send(whole, descriptors.peek(), descriptors.close, without)

    def _without(self, sender: Session, worker: Session, lost: int, body: bytes) -> bytes:
        """The frame that tells the receiver of a message that its descriptors were lost; tells the sender, too."""
        if not sender.channel.is_closed:
            sender.channel.send(encode(kinds.LOST, worker.pid, lost, b""))
        return encode(kinds.HANDLES, sender.pid, -lost, body)
