"""Reads the first frames on a channel, and nothing after them: the rest, and its descriptors, is for the event loop."""

from __future__ import annotations

import socket
import sys

from .._wire import frames
from .._wire.codec import Decoder
from .._wire.descriptors import ANCILLARY_SIZE, RECEIVE_FLAGS, received
from .._wire.frame import Frame
from ..errors import ProtocolError

_LENGTH = 4  # bytes of a frame's length


def read_config(sock: socket.socket) -> frames.WorkerConfig:
    """Reads the worker config, which is the first frame."""
    head = _read(sock, _LENGTH)
    frame, *_ = Decoder().feed(head + _read(sock, int.from_bytes(head, "big")))
    try:
        return frames.WorkerConfig.parse(frame)
    except ProtocolError as error:
        sys.exit(
            f"aiocluster: the channel does not begin with the worker's configuration ({error}); "
            "do both sides have the same version?"
        )


def read_descriptor(sock: socket.socket, kind: type[Frame]) -> int | None:
    """Reads the next frame, which is of this kind and comes with one descriptor.

    Returns:
        The descriptor, which the caller owns; None if this process has no room for one.
    """
    head, ancillary, _, _ = sock.recvmsg(_LENGTH, ANCILLARY_SIZE, RECEIVE_FLAGS)
    fds = received(ancillary).take()
    head += _read(sock, _LENGTH - len(head))
    frame, *_ = Decoder().feed(head + _read(sock, int.from_bytes(head, "big")))
    kind.parse(frame)
    return fds[0] if fds else None


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            sys.exit(1)  # the primary ended before it sent the frame
        data += more
    return data
