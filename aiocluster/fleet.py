"""`Fleet`: several clusters with the same backplane and name, as a primary or a worker of one of them sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from ._no_constructor import NoConstructor

if TYPE_CHECKING:
    from ._wire.windows import SendWindow
    from .errors import BackplaneError


class View(Protocol):
    """What a process knows of its fleet."""

    @property
    def name(self) -> str:
        """See `Fleet.name`."""
        ...

    @property
    def host(self) -> str:
        """See `Fleet.host`."""
        ...

    @property
    def members(self) -> Mapping[str, tuple[int, ...]]:
        """See `Fleet.members`."""
        ...

    @property
    def error(self) -> BackplaneError | None:
        """Why the fleet can't be reached; None: it can."""
        ...

    def windows(self) -> Iterable[SendWindow]:
        """The flows to all other workers."""
        ...


class Fleet(metaclass=NoConstructor, made_by="Cluster(backplane=…, fleet=…)"):
    """The clusters that have the same backplane and the same name: `Cluster.fleet`, `Worker.fleet`."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __repr__(self) -> str:
        return f"<Fleet {self.name!r}, host {self.host!r}>"

    @property
    def name(self) -> str:
        """Its name (the setting ``fleet``)."""
        return self._view.name

    @property
    def host(self) -> str:
        """What this cluster is called in it: the machine's host name and a random suffix, for each cluster another."""
        return self._view.host

    @property
    def members(self) -> Mapping[str, tuple[int, ...]]:
        """The pids of the workers of each cluster, this one included, by host. Agents are not among them.

        A cluster that is cut off or has been killed is removed when its lease has passed (the setting ``fleet_lease``).
        """
        return MappingProxyType(dict(self._view.members))

    async def broadcast(self, message: Any) -> None:
        """Sends a message to every other worker of every cluster, except agents. See `Worker.broadcast`.

        Raises:
            BackplaneError: The fleet can't be reached. Workers of this cluster have been sent the message. Those of
                others get it if the connection comes back within the lease.
            SerializationError: The message holds something that msgpack can't carry. Nothing was sent.
            MessageTooLargeError: The packed message is larger than 64 MiB. Nothing was sent.
        """
        from ._wire.codec import pack
        from ._wire.windows import send_to_all

        body = pack(message)
        await send_to_all(list(self._view.windows()), body)
        if (error := self._view.error) is not None:
            raise error
