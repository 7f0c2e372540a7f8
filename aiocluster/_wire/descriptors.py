"""Descriptors sent over a Unix socket: SCM_RIGHTS, see unix(7) and cmsg(3)."""

from __future__ import annotations

import array
import os
import socket

MAX_DESCRIPTORS = 250
"""The most descriptors one frame carries; Linux allows 253 (``SCM_MAX_FD``)."""

ANCILLARY_SIZE = socket.CMSG_SPACE((MAX_DESCRIPTORS + 3) * array.array("i").itemsize)
CTRUNC = int(socket.MSG_CTRUNC)  # a plain int: an enum's `&` takes longer than the system call
RECEIVE_FLAGS = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))  # Linux only; see `received` for other systems


class Descriptors:
    """The descriptors that came with a frame. `close` closes those that have not been taken."""

    __slots__ = ("_fds",)

    def __init__(self, fds: list[int]) -> None:
        self._fds = fds

    def take(self) -> list[int]:
        """Returns all of them. The caller now owns them and must close them."""
        fds, self._fds = self._fds, []
        return fds

    def peek(self) -> tuple[int, ...]:
        """Returns all of them. This object still owns them."""
        return tuple(self._fds)

    def close(self) -> None:
        for fd in self.take():
            os.close(fd)

    def __len__(self) -> int:
        return len(self._fds)


def received(ancillary: list[tuple[int, int, bytes]]) -> Descriptors:
    """The descriptors in the ancillary data of recvmsg(2); fewer than were sent if it was cut off (``MSG_CTRUNC``)."""
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if not RECEIVE_FLAGS:
        for fd in fds:
            os.set_inheritable(fd, False)
    return Descriptors(list(fds))
