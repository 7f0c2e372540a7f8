"""Routes frames from worker to worker, by pid, without unpacking the messages in them.

::

    worker A ──[kind, B, n, bin]──▶ router ──[kind, A, n, bin]──▶ worker B
                                      │
                                      └─ B is the primary's own pid: this process handles it
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Protocol

from .._wire import frames as kinds
from .._wire.codec import FlowFields, encode_flow
from .._wire.frames import AFAR, PeerJoined, PeerLeft, Remote, RemoteJoined, RemoteLeft
from .._wire.windows import DESCRIPTOR
from ..errors import ProtocolError
from .arrears import Arrears, Waiting

if TYPE_CHECKING:
    from .._wire.descriptors import Descriptors
    from .._wire.frame import TakeDescriptors
    from .session import Session


class Uplink(Protocol):
    """What leads to other clusters of the fleet."""

    def send(self, to: Remote, kind: int, sender: int, number: int, body: bytes) -> None:
        """Sends a frame of a flow to a process of another cluster.

        Raises:
            ProtocolError: The sender has sent too much.
        """
        ...

    def receive(self, sender: Remote, kind: int, number: int, body: bytes) -> None:
        """A frame of a flow has arrived for the primary itself.

        Raises:
            ProtocolError: It is invalid.
        """
        ...

    def joined(self, pid: int, is_worker: bool) -> None:
        """A worker or an agent of this cluster is online."""
        ...

    def left(self, pid: int) -> None:
        """It is gone. All it sent has been sent on."""
        ...

    @property
    def news(self) -> bytes | None:
        """A frame for each worker that starts; None: there is none."""
        ...


class Router:
    """Knows the workers by pid, and tells each about its peers: the others that are online and connected."""

    def __init__(self) -> None:
        self._own_pid = os.getpid()
        self._workers: dict[int, Session] = {}
        self._peers: dict[int, str | None] = {}
        self._arrears = Arrears()
        self._uplink: Uplink | None = None
        self._remotes: dict[int, Remote] = {}
        self._last_remote = AFAR - 1

    @property
    def peers(self) -> dict[int, str | None]:
        """The workers that are online and connected, as names by pid."""
        return dict(self._peers)

    def add(self, worker: Session) -> None:
        """Adds a worker that starts and knows the current peers: it is told about all later changes."""
        self._workers[worker.pid] = worker
        if self._uplink is not None and (news := self._uplink.news) is not None:
            worker.channel.send(news)

    def join(self, worker: Session) -> None:
        """Tells the other workers that this one is online."""
        name = self._peers[worker.pid] = worker.identity.name
        self._tell_others(worker, PeerJoined(worker.pid, name).encode())
        if self._uplink is not None:
            self._uplink.joined(worker.pid, name is None)

    def leave(self, worker: Session) -> None:
        """Removes a worker whose channel is closed, and tells the others. All it sent has been routed."""
        if self._workers.get(worker.pid) is worker:
            del self._workers[worker.pid]
            if self._peers.pop(worker.pid, self) is not self:
                self._tell_others(worker, PeerLeft(worker.pid).encode())
                if self._uplink is not None:
                    self._uplink.left(worker.pid)
            self._arrears.forget(worker.pid)

    def _tell_others(self, worker: Session | None, frame: bytes) -> None:
        for other in self._workers.values():
            if other is not worker and not other.channel.is_closed:
                other.channel.send(frame)

    def tell_all(self, frame: bytes) -> None:
        """Sends every worker a frame."""
        self._tell_others(None, frame)

    # ---- other clusters

    @property
    def remotes(self) -> list[Remote]:
        """The processes of other clusters."""
        return list(self._remotes.values())

    def remote(self, number: int) -> Remote | None:
        """The process of another cluster that has that number; None: it has gone."""
        return self._remotes.get(number)

    def connect(self, uplink: Uplink) -> None:
        """Has frames to other clusters passed to this, and tells it which workers there are."""
        self._uplink = uplink
        for pid, name in self._peers.items():
            uplink.joined(pid, name is None)

    def remote_joined(self, host: str, pid: int, is_worker: bool) -> int:
        """Tells all workers that a process of another cluster is there. Returns the number that it has from now on."""
        while True:
            self._last_remote += 1
            if self._last_remote >= 2**32:
                self._last_remote = AFAR
            if self._last_remote not in self._remotes:
                break
        remote = self._remotes[self._last_remote] = Remote(self._last_remote, host, pid, is_worker)
        self.tell_all(RemoteJoined(*remote).encode())
        return remote.number

    def remote_left(self, number: int) -> None:
        """Tells all workers that it has gone. All it sent has been routed."""
        del self._remotes[number]
        self.tell_all(RemoteLeft(number).encode())
        self._arrears.forget(number)

    def route_in(self, sender: int, receiver: int, kind: int, number: int, body: bytes) -> None:
        """Passes on a frame from the process of another cluster that has the number ``sender``.

        Raises:
            ProtocolError: It has sent too much.
        """
        if receiver == self._own_pid and self._uplink is not None:
            self._uplink.receive(self._remotes[sender], kind, number, body)
            return
        worker = self._workers.get(receiver)
        if worker is not None and not worker.channel.is_closed:
            self._pass_on(worker, sender, encode_flow(kind, sender, number, body))

    def _pass_on(self, worker: Session, sender: int, frame: bytes) -> None:
        if worker.channel.waits_for_room:
            worker.channel.send(Waiting(self._arrears, sender, worker.pid, frame))
        else:
            worker.channel.send(frame)

    def route(self, sender: Session, frame: FlowFields, take: TakeDescriptors) -> None:
        """Sends a frame on to the worker that it names, and drops it if there is none.

        ``PEER_LEFT`` tells the sender of a dropped frame that the receiver has gone.

        Raises:
            ProtocolError: A worker may not send it, or it has sent too much.
        """
        kind, peer, number, body = frame
        if kind == kinds.CALL:
            raise ProtocolError("a worker has asked to run code in another process")
        if kind == kinds.MESSAGES:
            sender.messages += number
        if peer == self._own_pid:
            sender.conversation.receive(kind, number, body, take)
            return
        descriptors = take() if kind == kinds.HANDLES and number > 0 else None
        worker = self._workers.get(peer)
        if worker is None or worker.channel.is_closed:
            if descriptors is not None:
                descriptors.close()
            elif (remote := self._remotes.get(peer)) is not None and kind != kinds.HANDLES:
                assert self._uplink is not None
                self._uplink.send(remote, kind, sender.pid, number, body)
        elif descriptors is None:
            self._pass_on(worker, sender.pid, encode_flow(kind, sender.pid, number, body))
        elif len(descriptors) != number:
            descriptors.close()
            worker.channel.send(self._without(sender, worker, number, body))
        else:
            self._send_with_descriptors(sender, worker, number, body, descriptors)

    def _send_with_descriptors(
        self, sender: Session, worker: Session, number: int, body: bytes, descriptors: Descriptors
    ) -> None:
        cost = len(body) + number * DESCRIPTOR
        try:
            self._arrears.add(sender.pid, worker.pid, cost)
        except ProtocolError:
            descriptors.close()
            raise

        def release() -> None:
            self._arrears.remove(sender.pid, worker.pid, cost)
            descriptors.close()

        without = partial(self._without, sender, worker, number, body)
        whole = encode_flow(kinds.HANDLES, sender.pid, number, body)
        worker.channel.send(whole, descriptors.peek(), release, without)

    def _without(self, sender: Session, worker: Session, lost: int, body: bytes) -> bytes:
        """Tells the sender that descriptors were lost. Returns the frame that tells the receiver."""
        if not sender.channel.is_closed:
            sender.channel.send(encode_flow(kinds.LOST, worker.pid, lost, b""))
        return encode_flow(kinds.HANDLES, sender.pid, -lost, body)
