"""What identifies a shared port."""

from __future__ import annotations

from typing import NamedTuple


class Endpoint(NamedTuple):
    """The key of a shared port: workers that ask for the same endpoint get the same port.

    Attributes:
        family: The number of the address family.
        type: The number of the socket type.
        host: An IP address.
        port: The port number; 0 for any free one.
        path: The absolute path of a Unix socket, instead of host and port.
        fd: A descriptor that is open in the primary, instead of all these; -1 if there is none.
        ordinal: Distinguishes several requests of one worker for port 0. The first request of each worker gets the same
            port, and so does the second.
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
