"""The fleet as a worker sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .._wire.windows import SendWindow
from ..errors import BackplaneError, ClusterError
from ..fleet import Fleet
from .worker import NO_FLEET

if TYPE_CHECKING:
    from .session import Session


class WorkersView:
    """What this worker knows of its fleet.

    Args:
        session: The worker.
        name: The fleet's name.
        host: What it calls this worker's cluster.
    """

    def __init__(self, session: Session, name: str, host: str) -> None:
        self._session = session
        self._name = name
        self._host = host

    @property
    def name(self) -> str:
        """See `Fleet.name`."""
        return self._name

    @property
    def host(self) -> str:
        """See `Fleet.host`."""
        return self._host

    @property
    def members(self) -> Mapping[str, tuple[int, ...]]:
        """See `Fleet.members`."""
        session = self._session
        is_one = session.config.name is None and session.is_online
        return {self._host: (*([session.pid] if is_one else []), *session.workers), **session.remotes.members}

    @property
    def error(self) -> BackplaneError | None:
        """See `View.error`."""
        return self._session.backplane_error

    def windows(self) -> Iterable[SendWindow]:
        """See `View.windows`."""
        session = self._session
        for peer in session.workers.values():
            yield peer.send_window
        for number in session.remotes.workers:
            found = session.peers.get(number) or session.remotes.find(number)
            if found is not None:
                yield found.send_window


def fleet_of(session: Session) -> Fleet:
    """The fleet that the worker's cluster is one of.

    Raises:
        ClusterError: It is in none.
    """
    if session.config.fleet is None:
        raise ClusterError(NO_FLEET)
    return Fleet._create(WorkersView(session, session.config.fleet, session.config.host))
