"""Pure: which clusters are in the fleet, and what they and this one tell each other.

::

    this cluster ──Beat──▶ the fleet's channel ──▶ all, itself included
                 ──Batch, Over──▶ one cluster's channel ──▶ that one

A cluster is in the fleet while it hears its own beats: for its lease from when it published the last one that it has
heard. Others count from when they heard the beat. So before they give it up, it has given up itself: it
has lost touch with all, and comes back as another epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from .._wire import frames as kinds
from ..errors import ProtocolError
from .letters import Batch, Beat, Bye, FlowFields, Hello, Joined, Left, Letter, Over, parse_frame
from .link import Link

BEATS = 3
"""How many beats there are in a lease."""

_REMEMBERED = 20  # leases for which an epoch that was given up is known
_FROM_AFAR = frozenset(kinds.FLOW) - {kinds.HANDLES, kinds.LOST, kinds.CALL}  # the kinds that clusters may send


class Listener(Protocol):
    """Who is told what happens in the fleet."""

    def joined(self, host: str, pid: int, is_worker: bool) -> None:
        """A process of another cluster is there."""
        ...

    def left(self, host: str, pid: int) -> None:
        """A process of another cluster has gone, or is out of touch."""
        ...

    def host_left(self, host: str) -> None:
        """Another cluster has gone, or is out of touch. So are its processes."""
        ...

    def flow(self, host: str, frame: FlowFields) -> None:
        """A frame from a process of another cluster, which has joined."""
        ...


class _Other:
    """Another cluster of the fleet."""

    __slots__ = ("epoch", "heard", "host", "is_known", "lease", "link", "processes")

    def __init__(self, host: str, epoch: int, link: Link, now: float, lease: float) -> None:
        self.host = host
        self.epoch = epoch
        self.link = link
        self.heard = now
        self.lease = lease
        self.is_known = False  # it has told its processes
        self.processes: dict[int, bool] = {}


class Roster:
    """The clusters of a fleet, as one of them knows them.

    Args:
        host: This cluster.
        lease: Seconds that it is in the fleet after a beat.
        listener: Is told what happens.

    Attributes:
        epoch: Which epoch of this cluster it is.
        is_in: Whether this cluster is in the fleet.
    """

    def __init__(self, host: str, lease: float, listener: Listener) -> None:
        self.host = host
        self.lease = lease
        self.epoch: int = 1
        self.is_in: bool = False
        self._listener = listener
        self._until = -math.inf
        self._last_beat = 0
        self._beats: dict[int, float] = {}  # when those were published that have not been heard
        self._others: dict[str, _Other] = {}
        self._dirty: dict[str, _Other] = {}  # those to which something is to be published
        self._over: dict[str, tuple[int, float]] = {}  # the last epoch of a host that was given up, and when
        self._processes: dict[int, bool] = {}
        self._letters: list[tuple[str | None, Letter]] = []

    # ---- this cluster

    @property
    def members(self) -> Mapping[str, tuple[int, ...]]:
        """The pids of each cluster's workers, this one included, by host."""
        found = {other.host: other.processes for other in self._others.values() if other.is_known}
        return {
            host: tuple(pid for pid, is_worker in processes.items() if is_worker)
            for host, processes in [(self.host, self._processes), *found.items()]
        }

    @property
    def until(self) -> float:
        """When this cluster is no longer in the fleet if it hears no more of its beats."""
        return self._until

    def add(self, pid: int, is_worker: bool) -> None:
        """A process of this cluster is there."""
        self._processes[pid] = is_worker
        self._tell_all(Joined(pid, is_worker).array())

    def remove(self, pid: int) -> None:
        """A process of this cluster has gone."""
        if self._processes.pop(pid, None) is not None:
            self._tell_all(Left(pid).array())

    def _tell_all(self, frame: list[Any]) -> None:
        for other in self._others.values():
            self._put(other, frame)

    def _put(self, other: _Other, frame: list[Any]) -> None:
        other.link.put(frame)
        self._dirty[other.host] = other

    def send(self, host: str, frame: FlowFields) -> None:
        """Sends a frame to a process of another cluster. Does nothing if that cluster has gone.

        Raises:
            ProtocolError: The sender has sent more than its windows allow.
        """
        other = self._others.get(host)
        if other is not None:
            other.link.put_flow(frame)
            self._dirty[host] = other

    # ---- time

    def beat(self, now: float) -> None:
        """Publishes a beat, and gives up clusters that have been silent for too long. To be called `BEATS` a lease."""
        self.look(now)
        self._last_beat += 1
        self._beats[self._last_beat] = now
        self._letters.append((None, Beat(self.host, self.epoch, self._last_beat, self.lease)))
        for other in list(self._others.values()):
            if now - other.heard > other.lease:
                self._give_up(other, now)
            else:
                other.link.tick(now - self.lease / BEATS)
                self._dirty[other.host] = other
        self._over = {host: over for host, over in self._over.items() if now - over[1] < _REMEMBERED * self.lease}

    def look(self, now: float) -> None:
        """Whether this cluster is still in the fleet. To be called first whenever something has happened."""
        if self.is_in and now >= self._until:
            self._leave(now)

    def _leave(self, now: float) -> None:
        self.is_in = False
        self.epoch += 1
        self._beats.clear()
        for other in list(self._others.values()):
            self._drop(other)
        self._letters.clear()

    def reconnected(self, now: float) -> None:
        """There is a connection to Redis again: what was published meanwhile is lost."""
        self.look(now)
        for other in self._others.values():
            other.heard = max(other.heard, now - other.lease / BEATS)  # its beats could not be heard
            other.link.again()
            self._dirty[other.host] = other
        self.beat(now)

    def stop(self) -> None:
        """This cluster leaves the fleet for good."""
        self._letters.append((None, Bye(self.host, self.epoch)))

    # ---- other clusters

    def _give_up(self, other: _Other, now: float) -> None:
        self._over[other.host] = other.epoch, now
        self._drop(other)

    def _drop(self, other: _Other) -> None:
        del self._others[other.host]
        self._dirty.pop(other.host, None)
        other.is_known = False
        for pid in other.processes:
            self._listener.left(other.host, pid)
        self._listener.host_left(other.host)

    def receive(self, letter: Letter, now: float) -> None:
        """A letter has arrived.

        Raises:
            ProtocolError: Another cluster has broken the protocol, which it has left by that.
        """
        self.look(now)
        match letter:
            case Beat(host=self.host, epoch=epoch, number=number):
                self._on_own_beat(epoch, number)
            case Over(host=host, to_epoch=self.epoch) if self.is_in and host != self.host:
                self._leave(now)
            case Beat() if self.is_in:
                other = self._meet(letter.host, letter.epoch, now)
                if other is not None:
                    other.lease = letter.lease
            case Bye(host=host, epoch=epoch) if host != self.host:
                other = self._others.get(host)
                if other is not None and other.epoch == epoch:
                    self._give_up(other, now)
            case Batch(to_epoch=self.epoch) if self.is_in and letter.host != self.host:
                other = self._meet(letter.host, letter.epoch, now)
                if other is not None:
                    self._on_batch(other, letter, now)

    def _on_own_beat(self, epoch: int, number: int) -> None:
        published = self._beats.get(number)
        if epoch == self.epoch and published is not None:
            self._beats = {later: when for later, when in self._beats.items() if later > number}
            self._until = published + self.lease
            self.is_in = True

    def _meet(self, host: str, epoch: int, now: float) -> _Other | None:
        """The other cluster of that epoch; None: that epoch is over."""
        other = self._others.get(host)
        if other is not None:
            if epoch == other.epoch:
                other.heard = now
                return other
            if epoch < other.epoch:
                return None
            self._drop(other)
        over, _ = self._over.get(host, (0, 0.0))
        if epoch <= over:
            self._letters.append((host, Over(self.host, self.epoch, epoch)))
            return None
        other = self._others[host] = _Other(host, epoch, Link(self.host, self.epoch, epoch), now, self.lease)
        self._put(other, Hello(dict(self._processes)).array())
        return other

    def _on_batch(self, other: _Other, batch: Batch, now: float) -> None:
        try:
            frames = other.link.receive(batch)
            self._dirty[other.host] = other
            for fields in frames:
                self._on_frame(other, parse_frame(fields))
        except ProtocolError as error:
            self._give_up(other, now)
            raise ProtocolError(f"{other.host} is given up: {error}") from None

    def _on_frame(self, other: _Other, frame: Any) -> None:
        match frame:
            case tuple():
                if frame[0] not in _FROM_AFAR:
                    raise ProtocolError(f"a frame of kind {frame[0]} can't come from another cluster")
                if frame[1] in other.processes:
                    self._listener.flow(other.host, frame)
            case Hello():
                other.is_known = True
                for pid, is_worker in frame.processes.items():
                    self._on_joined(other, pid, is_worker)
            case Joined():
                self._on_joined(other, frame.pid, frame.is_worker)
            case Left():
                if other.processes.pop(frame.pid, None) is not None:
                    self._listener.left(other.host, frame.pid)

    def _on_joined(self, other: _Other, pid: int, is_worker: bool) -> None:
        if pid in other.processes:  # another process has its pid
            self._listener.left(other.host, pid)
        other.processes[pid] = is_worker
        self._listener.joined(other.host, pid, is_worker)

    # ---- what is to be published

    @property
    def has_more(self) -> bool:
        """Whether frames wait until others have acknowledged earlier ones."""
        return any(other.link.has_more for other in self._others.values())

    @property
    def owes_acks(self) -> bool:
        """Whether something is to be acknowledged, if nothing that is published soon does it."""
        return any(other.link.owes_ack for other in self._others.values())

    def due(self, now: float, *, acks: bool = False) -> list[tuple[str | None, bytes]]:
        """What is to be published now: to which host (None: to all), and the bytes.

        Args:
            now: The time, in seconds.
            acks: Whether to acknowledge all that has arrived.
        """
        letters: list[tuple[str | None, bytes]] = [(host, letter.encode()) for host, letter in self._letters]
        self._letters.clear()
        others = self._others if acks else self._dirty
        for host, other in others.items():
            letters.extend((host, batch) for batch in other.link.due(now, acks=acks))
        self._dirty.clear()
        return letters
