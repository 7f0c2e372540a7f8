"""Classic BPF programs that choose among the sockets of one port on Linux (socket(7), bpf(2)).

A program gets a connection's first packet and returns the number of a socket: sockets are numbered in the order in
which they were opened. Offset 0 is after the TCP header; the IP header is at `_NETWORK`.
"""

from __future__ import annotations

import ctypes
import functools
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MOST_SOCKETS = 270
"""The most sockets a program can choose among: the kernel allows 4096 instructions (``BPF_MAXINSNS``)."""

_SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h; not in the socket module
_RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
_NETWORK = 0xFFF00000  # SKF_NET_OFF

# linux/bpf_common.h: class | size or operation | mode or source
_LOAD = 0x20  # A = the word at k, in network order
_LOAD_CONSTANT = 0x00  # A = k
_LOAD_MEMORY = 0x60  # A = M[k]
_LOAD_X_MEMORY = 0x61  # X = M[k]
_STORE = 0x02  # M[k] = A
_TO_X = 0x07  # X = A
_MODULO = 0x94  # A %= k
_MULTIPLY = 0x24  # A *= k
_XOR = 0xA4  # A ^= k
_XOR_X = 0xAC  # A ^= X
_SHIFT_RIGHT = 0x74  # A >>= k
_JUMP_IF_GREATER = 0x2D  # A > X
_JUMP_IF_AT_LEAST = 0x35  # A >= k
_RETURN = 0x06  # k
_RETURN_A = 0x16

_NO_SOCKET = 0xFFFF_FFFF  # no socket has this number: the kernel's own hash chooses

Instruction = tuple[int, int, int, int]


class Choice(NamedTuple):
    """One of the sockets: the number of its slot, and its weight; a weight of 0 means that it must not be chosen."""

    slot: int
    weight: int


def at_random(choices: Sequence[Choice], family: int) -> Iterator[Instruction]:
    """Chooses each socket in proportion to its weight. At least one weight must not be 0."""
    yield _LOAD, 0, 0, _RANDOM
    yield _MODULO, 0, 0, sum(choice.weight for choice in choices)
    bound = 0
    for number, choice in enumerate(choices):
        bound += choice.weight
        if choice.weight:
            yield _JUMP_IF_AT_LEAST, 1, 0, bound
            yield _RETURN, 0, 0, number
    yield _RETURN, 0, 0, _NO_SOCKET  # never reached, but a program must end with a return


def by_address(choices: Sequence[Choice], family: int) -> Iterator[Instruction]:
    """Chooses the same socket for the same client address: rendezvous hashing (Thaler and Ravishankar, 1998).

    ``ip_hash`` does the same. Each slot gets a score for the address, and the highest score wins. So adding or removing
    a slot moves only the addresses of that slot, and a worker's replacement gets the same addresses: it has the same
    slot.
    """
    key, highest, number_of_highest = range(3)
    words = range(12, 16, 4) if family == socket.AF_INET else range(8, 24, 4)  # the source address
    yield _LOAD_CONSTANT, 0, 0, 0
    for word in words:
        yield _TO_X, 0, 0, 0
        yield _LOAD, 0, 0, _NETWORK + word
        yield _XOR_X, 0, 0, 0
        yield _MULTIPLY, 0, 0, 0x9E37_79B1
    yield _STORE, 0, 0, key
    yield _LOAD_CONSTANT, 0, 0, 0
    yield _STORE, 0, 0, highest
    yield _LOAD_CONSTANT, 0, 0, _NO_SOCKET
    yield _STORE, 0, 0, number_of_highest
    for number, choice in enumerate(choices):
        if choice.weight:
            yield _LOAD_MEMORY, 0, 0, key
            yield _XOR, 0, 0, choice.slot * 0x85EB_CA6B + 1 & 0xFFFF_FFFF
            yield from _mixed()
            yield _LOAD_X_MEMORY, 0, 0, highest
            yield _JUMP_IF_GREATER, 0, 3, 0
            yield _STORE, 0, 0, highest
            yield _LOAD_CONSTANT, 0, 0, number
            yield _STORE, 0, 0, number_of_highest
    yield _LOAD_MEMORY, 0, 0, number_of_highest
    yield _RETURN_A, 0, 0, 0


def _mixed() -> Iterator[Instruction]:
    """The finalizer of MurmurHash3 (Appleby) without its first step: each bit of A depends on all bits."""
    for multiplier, shift in ((0x85EB_CA6B, 13), (0xC2B2_AE35, 16)):
        yield _MULTIPLY, 0, 0, multiplier
        yield _TO_X, 0, 0, 0
        yield _SHIFT_RIGHT, 0, 0, shift
        yield _XOR_X, 0, 0, 0


def attach(sock: socket.socket, instructions: Iterator[Instruction]) -> None:
    """Makes a program choose among this socket and all others of its port.

    Raises:
        OSError: The kernel refuses the program.
    """
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    held = ctypes.create_string_buffer(program)
    argument = struct.pack("HP", len(program) // 8, ctypes.addressof(held))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, argument)


@functools.cache
def is_possible() -> bool:
    """Whether the kernel accepts such programs."""
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            attach(sock, at_random([Choice(0, 1)], sock.family))
        except OSError:
            return False
    return True
