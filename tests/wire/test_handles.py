"""Handles: what may be sent, and who owns it afterwards."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from pathlib import Path

import anyio
import pytest

from aiocluster._wire import handles
from aiocluster._wire.descriptors import MAX_DESCRIPTORS

from .ends import marked


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


# ---- what may be sent


def test_sockets_are_handles() -> None:
    one, other = socket.socketpair()
    with one, other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        assert handles.sockets_of([one, udp, other]) == [one, udp, other]
        assert handles.sockets_of([]) == []


async def test_a_server_stands_for_its_sockets_in_order() -> None:
    async with await asyncio.start_server(nothing, ["127.0.0.1", "127.0.0.2"], 0) as server:
        with socket.socket() as sock:
            found = handles.sockets_of([server, sock])
            assert [one.fileno() for one in found] == [*(one.fileno() for one in server.sockets), sock.fileno()]
            assert len(found) == 3
            assert not any(handles.is_connection(one) for one in found[:2])
            fds = handles.duplicate(found)
            received = handles.from_descriptors(fds)
            assert [one.getsockname() for one in received[:2]] == [one.getsockname() for one in server.sockets]
            for one in received:
                one.close()


async def test_a_closed_server_stands_for_no_socket() -> None:
    async with await asyncio.start_server(nothing, "127.0.0.1", 0) as server:
        server.close()
        assert handles.sockets_of([server]) == []


async def test_anyio_listeners_stand_for_their_sockets(tmp_path: Path) -> None:
    async with (
        await anyio.create_tcp_listener(local_host="localhost") as tcp,
        await anyio.create_unix_listener(tmp_path / "socket") as unix,
    ):
        found = handles.sockets_of([tcp, unix])
        assert len(found) == len(tcp.listeners) + 1
        assert found[-1].family == socket.AF_UNIX
        assert not any(handles.is_connection(one) for one in found)


async def test_the_socket_of_a_transport_is_a_handle_and_stays_the_transports() -> None:
    async with await asyncio.start_server(nothing, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        reader, writer = await asyncio.open_connection(host, port)
        try:
            (found,) = handles.sockets_of([writer.get_extra_info("socket")])
            assert not handles.is_connection(found)
            (fd,) = handles.duplicate([found])
            assert inode(fd) == inode(found.fileno())
            os.close(fd)
            assert await reader.read() == b""
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("handle", "name"), [(7, "int"), ("socket", "str"), (None, "NoneType"), (open, "builtin_function_or_method")]
)
def test_anything_else_is_a_type_error(handle: object, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^a handle is a socket, an asyncio server or an anyio listener, not {name}$"):
        handles.sockets_of([handle])


def test_a_file_is_a_type_error() -> None:
    with open(os.devnull) as file, pytest.raises(TypeError, match="not TextIOWrapper"):
        handles.sockets_of([file])


def test_a_closed_socket_is_a_value_error() -> None:
    sock = socket.socket()
    sock.close()
    with pytest.raises(ValueError, match=r"^a closed socket can't be sent$"):
        handles.sockets_of([sock])


def test_more_handles_than_a_frame_carries_are_a_value_error() -> None:
    with socket.socket() as sock:
        assert len(handles.sockets_of([sock] * MAX_DESCRIPTORS)) == MAX_DESCRIPTORS
        with pytest.raises(ValueError, match=r"^251 handles on one message; the limit is 250$"):
            handles.sockets_of([sock] * (MAX_DESCRIPTORS + 1))


# ---- who owns it


def test_a_connection_is_what_is_closed_in_the_sender(tmp_path: Path) -> None:
    with (
        socket.socket() as listening,
        socket.socket() as fresh,
        socket.socket(socket.AF_UNIX) as listening_unix,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connected_udp,
    ):
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening_unix.bind(str(tmp_path / "socket"))
        listening_unix.listen()
        connected_udp.connect(("127.0.0.1", 9))
        for sock in (listening, listening_unix, udp, connected_udp):
            assert not handles.is_connection(sock)
        fresh.connect(listening.getsockname())
        accepted, _ = listening.accept()
        pair = socket.socketpair()
        with accepted, pair[0], pair[1]:
            for sock in (fresh, accepted, *pair):
                assert handles.is_connection(sock)


def test_duplicates_are_descriptors_of_their_own() -> None:
    one, other = socket.socketpair()
    fds = handles.duplicate([one, other])
    assert [inode(fd) for fd in fds] == [inode(one.fileno()), inode(other.fileno())]
    one.close()
    other.close()
    assert not any(os.get_inheritable(fd) for fd in fds)
    handles.close(fds)
    assert fds == []


def test_without_room_for_all_no_duplicate_is_made() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    one, other = socket.socketpair()
    with one, other:
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                handles.duplicate([one, other])
            os.close(os.dup(0))  # the one there is room for
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_closer_closes_once() -> None:
    fds = [marked(b"a"), marked(b"b")]
    numbers = tuple(fds)
    close = handles.closer(fds)
    close()
    for fd in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    again = os.open(os.devnull, os.O_RDONLY)  # gets one of these numbers
    close()
    os.fstat(again)
    os.close(again)


def test_received_descriptors_become_non_blocking_sockets_that_own_them() -> None:
    one, other = socket.socketpair()
    with one, other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        fds = handles.duplicate([one, udp])
        received = handles.from_descriptors(fds)
        assert fds == []
        assert [(sock.family, sock.type) for sock in received] == [
            (socket.AF_UNIX, socket.SOCK_STREAM),
            (socket.AF_INET, socket.SOCK_DGRAM),
        ]
        assert [sock.gettimeout() for sock in received] == [0.0, 0.0]
        received[0].send(b"x")
        assert other.recv(1) == b"x"
        for sock in received:
            sock.close()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_descriptor_that_is_no_socket_is_an_error_that_leaves_none_open(place: int) -> None:
    one, other = socket.socketpair()
    with one, other:
        fds = handles.duplicate([one, other])
        fds.insert(place, marked(b"no socket"))
        numbers = tuple(fds)
        with pytest.raises(OSError, match="non-socket"):
            handles.from_descriptors(fds)
        assert fds == []
        for fd in numbers:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
