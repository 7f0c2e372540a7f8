"""Descriptors on a Unix socket: SCM_RIGHTS, see unix(7) and cmsg(3)."""

from __future__ import annotations

import array
import os
import socket

MAX_DESCRIPTORS = 250
"""The most descriptors one frame carries; Linux allows 253 (``SCM_MAX_FD``)."""

ANCILLARY_SIZE = socket.CMSG_SPACE((MAX_DESCRIPTORS + 3) * array.array("i").itemsize)
CTRUNC = int(socket.MSG_CTRUNC)  # as plain numbers: an enum's `&` takes longer than the system call
RECEIVE_FLAGS = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))  # Linux; elsewhere see `received`


class Descriptors:
    """The descriptors that came with a frame. What nobody has taken is closed by `close`."""

    __slots__ = ("_fds",)

    def __init__(self, fds: list[int]) -> None:
        self._fds = fds

    def take(self) -> list[int]:
        """All of them; the caller closes them from now on."""
        fds, self._fds = self._fds, []
        return fds

    def peek(self) -> tuple[int, ...]:
        """All of them; they stay this object's."""
        return tuple(self._fds)

    def close(self) -> None:
        for fd in self.take():
            os.close(fd)

    def __len__(self) -> int:
        return len(self._fds)


def received(ancillary: list[tuple[int, int, bytes]]) -> Descriptors:
    """The descriptors in what recvmsg(2) returned as ancillary data, or what is left of them (``MSG_CTRUNC``)."""
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if not RECEIVE_FLAGS:
        for fd in fds:
            os.set_inheritable(fd, False)
    return Descriptors(list(fds))
