"""A port as a worker asks the primary for it."""

from __future__ import annotations

from typing import NamedTuple


class Endpoint(NamedTuple):
    """Which port.

    Attributes:
        family: The address family's number.
        type: The socket type's number.
        host: An IP address.
        port: Its port; 0: a free one.
        path: A Unix socket's whole path instead.
        fd: A descriptor of the primary's instead; -1: none.
        ordinal: Tells several ports 0 of one worker apart: the first is the same for all workers, so is the second.
    """

    family: int
    type: int
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    ordinal: int = 0

    def __str__(self) -> str:
        if self.fd >= 0:
            return f"the primary's descriptor {self.fd}"
        return repr(self.path or (self.host, self.port))
