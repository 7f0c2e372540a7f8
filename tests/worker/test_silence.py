"""Whether a client has sent anything yet."""

from __future__ import annotations

import socket

import pytest

from aiocluster._worker.listening.silence import has_sent_nothing


@pytest.mark.skipif("sys.platform != 'linux'")
def test_of_a_tcp_connection_linux_tells() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        accepted, _ = listening.accept()
        with accepted:
            assert has_sent_nothing(accepted)
            client.sendall(b"hello")
            assert accepted.recv(10) == b"hello"
            assert not has_sent_nothing(accepted)
        assert not has_sent_nothing(accepted)  # it is closed


def test_of_a_unix_connection_nobody_tells() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert not has_sent_nothing(one)
