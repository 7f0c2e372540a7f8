"""What is seen of connections that wait, at ports that have windows and a real socket, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from aiocluster._primary.ports.port import Port
from aiocluster._primary.ports.pressure import Pressure, Strain, queued_at, strain_at
from aiocluster._primary.ports.window import Window

NOW = 100.0


@dataclass
class Listening:
    """The part of a port that is looked at."""

    sock: socket.socket
    windows: list[Window]
    accepted: int = 10
    pending: int = 0
    hands_over: bool = True
    clients: ExitStack = field(default_factory=ExitStack)

    def connect(self, count: int) -> None:
        for _ in range(count):
            self.clients.enter_context(socket.create_connection(self.sock.getsockname()))

    @property
    def strain(self) -> Strain:
        return rounded(strain_at(cast(Port, self), NOW))


def rounded(strain: Strain) -> Strain:
    return replace(strain, stuck=round(strain.stuck, 3), seconds=round(strain.seconds, 3))


@pytest.fixture
def port() -> Iterator[Listening]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = Listening(sock, [])
        with port.clients:
            yield port


def window(unready: int, age: float = 0.0, seconds: float = 0.1) -> Window:
    """One that has so many, the oldest since ``age`` seconds. With connections of 0.1 s there is room for one."""
    window = Window()
    window.expect(seconds, NOW - age)
    if unready:
        window.sent(unready, NOW - age)
    return window


def test_nothing_waits_where_a_worker_has_room(port: Listening) -> None:
    port.windows = [window(1, 0.05), window(0)]
    port.connect(3)  # they are accepted in a moment
    assert port.strain == Strain(0, 0.0, 10, 0.1, True)
    port.windows = [window(0), window(0)]
    assert not port.strain.is_busy


def test_a_worker_that_is_busy_has_no_room_whatever_its_window(port: Listening) -> None:
    port.windows = [window(2, 0.03, seconds=0.0001), window(4, 0.02, seconds=0.0001)]
    strain = port.strain
    assert (strain.waiting, strain.stuck) == (1 + 3, 0.02)
    port.windows = [window(2, 0.03, seconds=0.0001), window(4, 0.001, seconds=0.0001)]
    assert port.strain.waiting == 0


def test_what_waits_in_the_backlog_and_in_the_primary_counts(port: Listening) -> None:
    port.windows = [window(1, 0.03), window(1, 0.01)]
    assert port.strain == Strain(0, 0.01, 10, 0.1, True)
    port.connect(5)
    port.pending = 2
    assert port.strain == Strain(7, 0.01, 15, 0.1, True)


def test_a_worker_that_has_done_one_is_busy_with_the_next_one_since_then(port: Listening) -> None:
    working = window(3, 0.05)
    working.ready(1, 0.04, NOW - 0.01)
    port.windows = [working]
    assert port.strain.stuck == 0.01
    assert port.strain.waiting == 1


@pytest.mark.parametrize("hands_over", [True, False])
def test_a_port_where_no_worker_is_to_take_connections(port: Listening, hands_over: bool) -> None:
    port.hands_over = hands_over
    port.windows = [] if hands_over else [window(1, 1.0)]
    port.connect(1)
    assert port.strain == Strain()


def test_several_ports(port: Listening) -> None:
    """Those where connections wait count; where none waits, only what is known of how long they take."""
    port.windows = [window(3, 0.02)]
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.create_server(("127.0.0.1", 0)) as third:
        idle = Listening(sock, [window(0, seconds=0.3)])
        other = Listening(third, [window(2, 0.04, seconds=0.2)])
        ports: list[Any] = [port, idle, other]
        pressure = Pressure(lambda: ports)
        assert rounded(pressure.strain(NOW)) == Strain(3, 0.04, 30, 0.2, True)
        assert Pressure(lambda: ports[1:2]).strain(NOW).seconds == 0.3
        assert Pressure(list).strain(NOW) == Strain()


def test_the_length_of_a_backlog(port: Listening, tmp_path: Path) -> None:
    assert queued_at(port.sock) == 0
    port.connect(4)
    assert queued_at(port.sock) == (4 if hasattr(socket, "TCP_INFO") else 1)
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as client:
        sock.bind(str(tmp_path / "sock"))
        sock.listen()
        assert queued_at(sock) == 0
        client.connect(str(tmp_path / "sock"))
        assert queued_at(sock) == 1
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as sock,
        socket.create_connection(sock.getsockname()[:2]),
    ):
        assert queued_at(sock) == 1


def _connected(sock: socket.socket) -> socket.socket:
    return socket.create_connection(sock.getsockname()[:2])
