"""The programs by which the kernel chooses, run by the kernel."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aiocluster._primary.ports.bpf import MOST_SOCKETS, Choice, at_random, attach, by_address, is_possible
from aiocluster._primary.ports.reuse_port import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is told whom to choose")

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
ADDRESSES = [f"127.0.{block}.{number}" for block in range(3) for number in range(1, 201)]


class Group:
    """Sockets that listen on one port."""

    def __init__(self, count: int, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.family = family
        self.sockets: list[socket.socket] = []
        for _ in range(count):
            self.sockets.append(sock := socket.socket(family))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((LOOPBACK[family], self.port if len(self.sockets) > 1 else 0))
            sock.listen()
            sock.setblocking(False)

    @property
    def port(self) -> int:
        port: int = self.sockets[0].getsockname()[1]
        return port

    def chosen_for(self, address: str) -> int:
        """Which socket a connection from there arrives at."""
        with socket.socket(self.family) as client:
            client.bind((address, 0))
            client.connect((LOOPBACK[self.family], self.port))
            for number, sock in enumerate(self.sockets):
                try:
                    accepted, _ = sock.accept()
                except BlockingIOError:
                    continue
                accepted.close()
                return number
        raise AssertionError("it arrived nowhere")


@contextmanager
def group(count: int, family: socket.AddressFamily = socket.AF_INET) -> Iterator[Group]:
    one = Group(count, family)
    try:
        yield one
    finally:
        for sock in one.sockets:
            sock.close()


def test_the_kernel_of_these_tests_takes_programs() -> None:
    assert is_possible()


def test_at_random_by_weight() -> None:
    with group(3) as one:
        attach(one.sockets[0], at_random([Choice(1, 1), Choice(2, 0), Choice(3, 9)], one.family))
        shares = Counter(one.chosen_for("127.0.0.1") for _ in range(400))
        assert shares[1] == 0
        assert 300 < shares[2] < 400  # 360 ± 6: ten deviations


def test_by_address_each_address_has_one_socket_and_each_socket_its_share() -> None:
    with group(4) as one:
        attach(one.sockets[0], by_address([Choice(slot, 1) for slot in range(4)], one.family))
        at = {address: one.chosen_for(address) for address in ADDRESSES}
        shares = Counter(at.values())
        assert all(90 < shares[number] < 210 for number in range(4)), shares  # 150 ± 11; no chance is involved
        assert all(one.chosen_for(address) == number for address, number in list(at.items())[:50])


def test_by_address_only_the_addresses_of_a_socket_that_is_out_move() -> None:
    with group(4) as one:
        choices = [Choice(slot, 1) for slot in range(4)]
        attach(one.sockets[0], by_address(choices, one.family))
        before = [one.chosen_for(address) for address in ADDRESSES]
        attach(one.sockets[0], by_address([*choices[:2], Choice(2, 0), choices[3]], one.family))
        after = [one.chosen_for(address) for address in ADDRESSES]
        moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        assert len(moved) == before.count(2)
        assert {new for _, new in moved} == {0, 1, 3}


def test_by_address_the_place_counts_and_not_the_order_of_sockets() -> None:
    with group(3) as one:
        attach(one.sockets[0], by_address([Choice(slot, 1) for slot in (7, 8, 9)], one.family))
        before = [one.chosen_for(address) for address in ADDRESSES[:100]]
        attach(one.sockets[0], by_address([Choice(slot, 1) for slot in (9, 7, 8)], one.family))
        assert [one.chosen_for(address) for address in ADDRESSES[:100]] == [(number + 1) % 3 for number in before]


def test_by_address_of_ipv6() -> None:
    with group(3, socket.AF_INET6) as one:
        attach(one.sockets[0], by_address([Choice(slot, 1) for slot in range(3)], one.family))
        assert len({one.chosen_for("::1") for _ in range(20)}) == 1


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("program", [at_random, by_address])
def test_the_kernel_takes_as_many_as_we_say(program: Program, family: socket.AddressFamily) -> None:
    with group(1, family) as one:
        choices = [Choice(slot, 1) for slot in range(MOST_SOCKETS)]
        attach(one.sockets[0], program(choices, family))
