"""``reuse_port``: each worker has a listening socket of its own, and the kernel chooses among them.

The sockets belong to the places of the cluster, not to the workers: the primary holds a duplicate of each, and whoever
takes a worker's place gets the same socket, with all that waits in its queue. So nothing is lost when a worker goes. A
socket whose place is given up is emptied first.

On Linux a classic BPF program (socket(7), ``SO_ATTACH_REUSEPORT_CBPF``) chooses: at random, by weight. Elsewhere, and
where that is forbidden, the kernel's own hash of addresses and ports does, to which all sockets are equal.
"""

from __future__ import annotations

import ctypes
import logging
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger("aiocluster.listeners")

_SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h; the socket module does not name it
_LOAD_ANCILLARY = 0x20  # BPF_LD | BPF_W | BPF_ABS
_RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
_MODULO = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_JUMP_IF_GREATER_OR_EQUAL = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_MOST_SOCKETS = 1000  # of two instructions each; BPF_MAXINSNS is 4096


@dataclass(eq=False, slots=True)
class _Member:
    slot: int
    weight: int
    sock: socket.socket


class Group:
    """The sockets of one port, by place.

    Args:
        open_socket: Opens one more, bound to that port and listening.

    Attributes:
        is_steered: Whether we say whom the kernel chooses; else its own hash does.
    """

    def __init__(self, open_socket: Callable[[], socket.socket]) -> None:
        self._open_socket = open_socket
        self._members: list[_Member] = []  # in the kernel's order
        self.is_steered = sys.platform == "linux"

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

    def rest(self, slot: int, empty: Callable[[socket.socket], None]) -> None:
        """Lets the kernel choose the socket of that place no more, if it can be told so.

        Args:
            slot: The place.
            empty: Called with the socket: takes what waits in its queue.
        """
        member = self._find(slot)
        if member is not None:
            member.weight = 0
            self._steer()
            empty(member.sock)

    def give_up(self, slot: int, empty: Callable[[socket.socket], None]) -> None:
        """Closes the socket of that place, after a `rest`."""
        self.rest(slot, empty)
        member = self._find(slot)
        if member is not None:
            index = self._members.index(member)
            last = self._members.pop()
            if last is not member:
                self._members[index] = last  # as the kernel does
            empty(member.sock)
            member.sock.close()
            self._steer()

    def _find(self, slot: int) -> _Member | None:
        return next((member for member in self._members if member.slot == slot), None)

    def _steer(self) -> None:
        weights = [member.weight for member in self._members]
        if not self.is_steered or not any(weights):
            return
        program = steering(weights)
        instructions = ctypes.create_string_buffer(program)
        argument = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
        try:
            self._members[0].sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, argument)
        except OSError as error:
            self.is_steered = False
            logger.warning("the kernel does not let us choose among sockets (%s): its own hash does", error.strerror)

    def close(self) -> None:
        """Closes them all."""
        for member in self._members:
            member.sock.close()
        self._members.clear()


def steering(weights: list[int]) -> bytes:
    """A classic BPF program that returns each index at random, as often as its weight says.

    Args:
        weights: From 0 on, not all 0.
    """
    weights = weights[:_MOST_SOCKETS]
    program = [(_LOAD_ANCILLARY, 0, 0, _RANDOM), (_MODULO, 0, 0, sum(weights))]
    bound = 0
    for index, weight in enumerate(weights):
        bound += weight
        if weight:
            program.append((_JUMP_IF_GREATER_OR_EQUAL, 1, 0, bound))
            program.append((_RETURN, 0, 0, index))
    program.append((_RETURN, 0, 0, 0xFFFFFFFF))  # never reached, but a program must end in a return
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
