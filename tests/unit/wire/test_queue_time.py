"""How long connections have waited in the kernel's queue: who is asked."""

from __future__ import annotations

import socket
import sys
import time

import pytest

from aiocluster._wire.queue_time import TICK, QueueTimes

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not tell it")


def asked(times: QueueTimes, moments: list[float]) -> int:
    """How many of the connections that come at these moments are asked."""
    count = 0
    with socket.socket() as sock:
        for now in moments:
            if times.asks_at <= now:
                times.ask(sock.fileno(), now)
                count += 1
    return count


def test_where_few_come_each_is_asked() -> None:
    assert asked(QueueTimes(socket.AF_INET), [100 + n / 400 for n in range(1000)]) == 1000


def test_where_many_come_five_hundred_in_a_second_are() -> None:
    assert 500 <= asked(QueueTimes(socket.AF_INET), [100 + n / 20_000 for n in range(20_000)]) <= 570


def test_of_those_that_come_at_once_the_first_are() -> None:
    times = QueueTimes(socket.AF_INET)
    assert 60 <= asked(times, [100.0] * 1000) <= 70
    assert asked(times, [100.0005] * 1000) <= 1
    assert 60 <= asked(times, [101.0] * 1000) <= 70


@LINUX
def test_who_has_waited_says_so_and_its_descriptor_stays_open() -> None:
    times = QueueTimes(socket.AF_INET)
    assert times.can_be_told
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        began = time.monotonic()
        time.sleep(5 * TICK)
        accepted, _ = server.accept()
        with accepted:
            waited = times.ask(accepted.fileno(), time.monotonic())
            assert 2 * TICK <= waited <= time.monotonic() - began + 2 * TICK
            assert accepted.recv(3) == b"GET"


def test_a_unix_socket_tells_nothing() -> None:
    times = QueueTimes(socket.AF_UNIX)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not times.can_be_told
        assert times.ask(ours.fileno(), 1.0) == 0.0
