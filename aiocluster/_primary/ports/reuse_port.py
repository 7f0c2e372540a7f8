"""``reuse_port``: each worker has a listening socket of its own, and the kernel chooses among these sockets.

A socket belongs to a slot of the cluster, not to a worker. The primary holds a duplicate of each, and the next worker
in the slot gets the same socket with everything in its queue. So no connection is lost when a worker ends. Before the
socket of a removed slot is closed, its queue is emptied.

On Linux, a BPF program (`bpf`) chooses: at random, by weight, or by the client's address. On other systems, or where
such programs are not allowed, the kernel chooses by its own hash of addresses and ports: all sockets count the same.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...scheduling._registry import REUSE_PORT, REUSE_PORT_IP_HASH
from . import bpf
from .bpf import Choice, Instruction

logger = logging.getLogger("aiocluster.ports")

Program = Callable[[Sequence[Choice], int], Iterator[Instruction]]

_PROGRAMS: Mapping[str, Program] = {REUSE_PORT: bpf.at_random, REUSE_PORT_IP_HASH: bpf.by_address}

_REMOVED = -1  # instead of a slot's number


@dataclass(eq=False, slots=True)
class _Member:
    slot: int
    weight: int
    sock: socket.socket


class Group:
    """The workers' sockets of one port, by slot.

    Args:
        open_socket: Opens one more, bound to that port and listening.
        scheduling: How the kernel chooses: a name of `OWN_SOCKETS`.

    Attributes:
        is_steered: Whether a BPF program chooses the socket; else the kernel's own hash does.
    """

    def __init__(self, open_socket: Callable[[], socket.socket], scheduling: str) -> None:
        self._open_socket = open_socket
        self._program = _PROGRAMS[scheduling]
        self._members: list[_Member] = []  # in the kernel's order
        self.is_steered: bool = bpf.is_possible()

    @property
    def socks(self) -> list[socket.socket]:
        """All sockets."""
        return [member.sock for member in self._members]

    def sock_for(self, slot: int, weight: int) -> socket.socket:
        """The socket of that slot. Opens it if there is none yet.

        Raises:
            OSError: It can't be opened.
        """
        member = self._find(slot)
        if member is None:
            member = _Member(slot, weight, self._open_socket())
            self._members.append(member)
        member.weight = weight
        self._steer()
        return member.sock

    def exclude(self, slot: int, empty: Callable[[socket.socket], bool]) -> None:
        """Stops the kernel from choosing the socket of that slot, if a BPF program chooses.

        Args:
            slot: The slot.
            empty: Called with the socket. Takes the connections in its queue, and returns whether it got them all.
        """
        member = self._find(slot)
        if member is not None:
            member.weight = 0
            self._steer()
            empty(member.sock)

    def remove(self, slot: int, empty: Callable[[socket.socket], bool]) -> None:
        """Excludes that slot, and closes its socket. If its queue can't be emptied now, `close_removed` does it later.

        Args:
            slot: The slot.
            empty: As for `exclude`.
        """
        member = self._find(slot)
        if member is not None:
            self.exclude(slot, empty)
            member.slot = _REMOVED
            self.close_removed(empty)

    def close_removed(self, empty: Callable[[socket.socket], bool]) -> None:
        """Closes the sockets of removed slots whose queues can be emptied.

        Args:
            empty: As for `exclude`.
        """
        for member in [member for member in self._members if member.slot == _REMOVED]:
            if empty(member.sock):
                index = self._members.index(member)
                last = self._members.pop()
                if last is not member:
                    self._members[index] = last  # as the kernel does
                member.sock.close()
                self._steer()

    def _find(self, slot: int) -> _Member | None:
        return next((member for member in self._members if member.slot == slot), None)

    def _steer(self) -> None:
        choices = [Choice(member.slot, member.weight) for member in self._members[: bpf.MOST_SOCKETS]]
        if not self.is_steered or not any(choice.weight for choice in choices):
            return
        sock = self._members[0].sock
        try:
            bpf.attach(sock, self._program(choices, sock.family))
        except OSError as error:
            self.is_steered = False
            logger.warning("can't attach a BPF program (%s); the kernel's own hash chooses sockets", error.strerror)

    def close(self) -> None:
        """Closes all sockets."""
        for member in self._members:
            member.sock.close()
        self._members.clear()
