"""The programs by which the kernel chooses, run by a small interpreter; tests/primary has the kernel run them."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

import pytest

from aiocluster._primary.ports.bpf import MOST_SOCKETS, Choice, Instruction, at_random, by_address

NETWORK, RANDOM = 0xFFF00000, 0xFFFFF000 + 56
WORD = 0xFFFF_FFFF
FAMILIES = [socket.AF_INET, socket.AF_INET6]


def run(program: Sequence[Instruction], packet: bytes = b"", chance: int = 0) -> int:
    """What a program returns: the classic BPF of linux/filter.h, as much of it as ours use."""
    a = x = 0
    memory = [0] * 16
    position = 0
    while True:
        code, if_true, if_false, k = program[position]
        position += 1
        match code:
            case 0x20 if k == RANDOM:
                a = chance
            case 0x20:
                a = int.from_bytes(packet[k - NETWORK : k - NETWORK + 4], "big")
            case 0x00:
                a = k
            case 0x60:
                a = memory[k]
            case 0x61:
                x = memory[k]
            case 0x02:
                memory[k] = a
            case 0x07:
                x = a
            case 0x94:
                a %= k
            case 0x24:
                a = a * k & WORD
            case 0xA4:
                a ^= k
            case 0xAC:
                a ^= x
            case 0x74:
                a >>= k
            case 0x2D:
                position += if_true if a > x else if_false
            case 0x35:
                position += if_true if a >= k else if_false
            case 0x06:
                return k
            case 0x16:
                return a
            case _:
                raise AssertionError(f"instruction {code:#x}")


def packet_from(address: str) -> bytes:
    """An IP header whose source is that address, and whose other bytes say nothing."""
    source = ip_address(address).packed
    return b"\x45" * (12 if len(source) == 4 else 8) + source + b"\x99" * 20


def packets(family: socket.AddressFamily, count: int = 2000) -> list[bytes]:
    form = "10.1.{}.{}" if family == socket.AF_INET else "2001:db8::{:x}:{:x}"
    return [packet_from(form.format(number >> 8, number & 255)) for number in range(count)]


def chosen(choices: Sequence[Choice], family: socket.AddressFamily) -> list[int]:
    program = list(by_address(choices, family))
    return [run(program, packet) for packet in packets(family)]


def test_at_random_each_weight_is_a_share_of_the_numbers() -> None:
    program = list(at_random([Choice(1, 1), Choice(2, 0), Choice(3, 9), Choice(4, 2)], socket.AF_INET))
    assert Counter(run(program, chance=number) for number in range(120)) == {0: 10, 2: 90, 3: 20}
    assert [run(program, chance=number) for number in (0, 1, 9, 10, 11, 12, WORD)] == [0, 2, 2, 3, 3, 0, 2]


@pytest.mark.parametrize("family", FAMILIES)
def test_by_address_each_socket_has_its_share(family: socket.AddressFamily) -> None:
    shares = Counter(chosen([Choice(slot, 1) for slot in range(4)], family))
    assert set(shares) == {0, 1, 2, 3}
    assert all(400 < share < 600 for share in shares.values()), shares


@pytest.mark.parametrize("family", FAMILIES)
def test_by_address_nothing_but_the_source_counts(family: socket.AddressFamily) -> None:
    program = list(by_address([Choice(slot, 1) for slot in range(64)], family))
    start, length = (12, 4) if family == socket.AF_INET else (8, 16)
    for packet in packets(family, 50):
        other = bytes(length + 12 + 20) if family == socket.AF_INET else bytes(8 + length + 20)
        other = other[:start] + packet[start : start + length] + other[start + length :]
        assert run(program, other) == run(program, packet)


@pytest.mark.parametrize("byte", range(16))
def test_by_address_each_byte_of_the_source_counts(byte: int) -> None:
    family = socket.AF_INET if byte < 4 else socket.AF_INET6
    program = list(by_address([Choice(slot, 1) for slot in range(64)], family))
    start = 12 if family == socket.AF_INET else 8
    packet = bytearray(start + 16 + 20)
    found = set()
    for value in range(256):
        packet[start + byte] = value
        found.add(run(program, bytes(packet)))
    assert len(found) > 48


@pytest.mark.parametrize("family", FAMILIES)
def test_by_address_only_the_addresses_of_a_socket_that_is_out_move(family: socket.AddressFamily) -> None:
    before = chosen([Choice(slot, 1) for slot in range(4)], family)
    after = chosen([Choice(0, 1), Choice(1, 1), Choice(2, 0), Choice(3, 5)], family)
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(moved) == before.count(2)
    assert {old for old, _ in moved} == {2}
    assert {new for _, new in moved} == {0, 1, 3}


def test_by_address_the_slot_counts_and_not_the_order_of_sockets() -> None:
    before = chosen([Choice(slot, 1) for slot in (7, 8, 9)], socket.AF_INET)
    after = chosen([Choice(slot, 1) for slot in (9, 7, 8)], socket.AF_INET)
    assert after == [(number + 1) % 3 for number in before]


def test_by_address_slots_of_any_number_differ() -> None:
    shares = Counter(chosen([Choice(slot, 1) for slot in range(0, 50_000, 5000)], socket.AF_INET))
    assert len(shares) == 10
    assert all(120 < share < 290 for share in shares.values()), shares


def test_by_address_of_sockets_that_are_all_out_none_is_chosen() -> None:
    assert set(chosen([Choice(0, 0), Choice(1, 0)], socket.AF_INET)) == {WORD}


@pytest.mark.parametrize("program", [at_random, by_address])
@pytest.mark.parametrize("family", FAMILIES)
def test_as_many_as_we_say_fit(
    program: Callable[[Sequence[Choice], int], Iterator[Instruction]], family: socket.AddressFamily
) -> None:
    most = list(program([Choice(slot, 1) for slot in range(MOST_SOCKETS)], family))
    assert len(most) <= 4096  # BPF_MAXINSNS
