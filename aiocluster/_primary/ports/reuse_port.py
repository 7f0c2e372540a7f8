"""``reuse_port``: each worker has a listening socket of its own, and the kernel chooses among them.

The sockets belong to the places of the cluster, not to the workers: the primary holds a duplicate of each, and whoever
takes a worker's place gets the same socket, with all that waits in its queue. So nothing is lost when a worker goes. A
socket whose place is given up is emptied first.

On Linux a program of ours chooses (`steering`): at random, by weight, or by the client's address. Elsewhere, and where
that is forbidden, the kernel's own hash of addresses and ports does, to which all sockets are equal.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...scheduling import REUSE_PORT, REUSE_PORT_IP_HASH
from . import bpf as steering
from .bpf import Choice, Instruction

logger = logging.getLogger("aiocluster.listeners")

Program = Callable[[Sequence[Choice], int], Iterator[Instruction]]

_PROGRAMS: Mapping[str, Program] = {REUSE_PORT: steering.at_random, REUSE_PORT_IP_HASH: steering.by_address}


_GIVEN_UP = -1  # nobody's place


@dataclass(eq=False, slots=True)
class _Member:
    slot: int
    weight: int
    sock: socket.socket


class Group:
    """The sockets of one port, by place.

    Args:
        open_socket: Opens one more, bound to that port and listening.
        scheduling: How the kernel is to choose: a name of `OWN_SOCKETS`.

    Attributes:
        is_steered: Whether we say whom the kernel chooses; else its own hash does.
    """

    def __init__(self, open_socket: Callable[[], socket.socket], scheduling: str) -> None:
        self._open_socket = open_socket
        self._program = _PROGRAMS[scheduling]
        self._members: list[_Member] = []  # in the kernel's order
        self.is_steered: bool = steering.is_possible()

    def sock_for(self, slot: int, weight: int) -> socket.socket:
        """The socket of that place, which is opened if there is none yet.

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

    def back_off(self, slot: int, empty: Callable[[socket.socket], bool]) -> None:
        """Lets the kernel choose the socket of that place no more, if it can be told so.

        Args:
            slot: The place.
            empty: Called with the socket: takes what waits in its queue, and says whether that was all.
        """
        member = self._find(slot)
        if member is not None:
            member.weight = 0
            self._steer()
            empty(member.sock)

    def give_up(self, slot: int, empty: Callable[[socket.socket], bool]) -> None:
        """Closes the socket of that place, after a `back_off`; if its queue can't be emptied now, `tidy` does later."""
        member = self._find(slot)
        if member is not None:
            self.back_off(slot, empty)
            member.slot = _GIVEN_UP
            self.tidy(empty)

    def tidy(self, empty: Callable[[socket.socket], bool]) -> None:
        """Closes the sockets of places that were given up, as far as their queues can be emptied."""
        for member in [member for member in self._members if member.slot == _GIVEN_UP]:
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
        choices = [Choice(member.slot, member.weight) for member in self._members[: steering.MOST_SOCKETS]]
        if not self.is_steered or not any(choice.weight for choice in choices):
            return
        sock = self._members[0].sock
        try:
            steering.attach(sock, self._program(choices, sock.family))
        except OSError as error:
            self.is_steered = False
            logger.warning("the kernel does not let us choose among sockets (%s): its own hash does", error.strerror)

    def close(self) -> None:
        """Closes them all."""
        for member in self._members:
            member.sock.close()
        self._members.clear()
