"""The address of a listening socket."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """The address that a socket is bound to.

    Attributes:
        family: ``"tcp4"``, ``"tcp6"``, ``"udp4"``, ``"udp6"`` or ``"unix"``.
        host: The IP address; empty for ``"unix"``.
        port: The port number, never 0 once bound; 0 for ``"unix"``.
        path: The path of the socket file; None unless ``"unix"``.
    """

    family: str
    host: str = ""
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if self.family.endswith("6") else f"{self.host}:{self.port}"
