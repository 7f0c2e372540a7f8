"""What identifies a shared port."""

from __future__ import annotations

from typing import NamedTuple


class Endpoint(NamedTuple):
    """The key of a shared port: workers that ask for the same endpoint get the same port.

    Attributes:
        family: The address family's number.
        type: The socket type's number.
        host: An IP address.
        port: Its port; 0: a free one.
        path: Instead of host and port, the absolute path of a Unix socket.
        fd: Instead of all these, a descriptor that is open in the primary; -1: none.
        ordinal: Distinguishes several ports 0 of one worker: the first one is the same for all workers, and so is the
            second.
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
