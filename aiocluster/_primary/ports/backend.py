"""One worker's place at the shared ports: what it asks of them, what it has of them, what policies see of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from ..._wire import frames as kinds
from ..._wire.channel import Channel
from ..._wire.codec import encode
from ..._wire.endpoint import Endpoint
from ..._wire.handles import closer
from ...address import Address
from ...errors import ProtocolError
from .table import Listeners


class Backend:
    """A worker as `listeners` and `scheduling` see it.

    Args:
        channel: The worker's.
        listeners: The shared ports.
        weight: Its share under weighted scheduling.
        slot: Its place in the cluster, which its replacement inherits.
        scheduling: The policy of ports that it opens without naming one.
        listening: Called with the address when the worker listens on a port.

    Attributes:
        takes_connections: Whether it may be given any: it is neither leaving nor failing.
        is_missed: Whether it failed or went without having meant to: its ports stay open for its replacement.
        open: How many connections it has open that it took from shared ports.
        under_way: How many it has been sent and has not taken yet.
        accepted: How many it has taken since it started.
        returned: How many that it was sent it gave back.
        redispatched: How many that it was sent went to others because it ended.
        delay: Seconds its event loop is late, smoothed; 0.0 if unknown.
        ports: The numbers of the shared ports that it listens on.
    """

    def __init__(
        self,
        channel: Channel,
        listeners: Listeners,
        *,
        weight: int,
        slot: int,
        scheduling: Any,
        listening: Callable[[Address], None],
    ) -> None:
        self.channel = channel
        self.weight = weight
        self.slot = slot
        self.takes_connections: bool = True
        self.is_missed: bool = False
        self.open: int = 0
        self.under_way = 0
        self.accepted: int = 0
        self.returned: int = 0
        self.redispatched = 0
        self.delay: float = 0.0
        self.ports: set[int] = set()
        self._listeners = listeners
        self._scheduling = scheduling
        self._listening = listening
        self.receivers: dict[int, Callable[..., None]] = {
            kinds.LISTEN: self._on_listen,
            kinds.SERVING: self._on_serving,
            kinds.UNLISTEN: self._on_unlisten,
            kinds.TAKEN: self._on_taken,
            kinds.ACCEPTED: self._on_accepted,
            kinds.CLOSED: self._on_closed,
        }

    @property
    def connections(self) -> int:
        """The connections it has, or will have in a moment."""
        return self.open + self.under_way

    def late(self, delay: float) -> None:
        """Its event loop was that many seconds late."""
        self.delay += 0.3 * (delay - self.delay)
        self.tell_policies()

    def tell_policies(self) -> None:
        """Its ``connections`` or ``delay`` have changed."""
        self._listeners.changed(self)

    def stop(self, *, for_good: bool) -> None:
        """Gives it no more connections; those that it has been sent it may still take, or return.

        Args:
            for_good: Whether it leaves its place, unless somebody else has it already.
        """
        self.takes_connections = False
        self.is_missed = not for_good
        self._listeners.stop(self, for_good=for_good)

    def leave(self, *, voluntary: bool) -> None:
        """The worker is gone."""
        self.takes_connections = False
        self.is_missed = not voluntary
        self._listeners.forget(self)
        self.open = 0

    # ---- what the worker says

    def _on_listen(self, number: int, wanted: dict[str, Any]) -> None:
        backlog, scheduling, mode = wanted.pop("backlog"), wanted.pop("scheduling"), wanted.pop("mode", None)
        try:
            listener = self._listeners.open(
                Endpoint(**wanted), backlog=backlog, scheduling=scheduling, default=self._scheduling, mode=mode
            )
            fds = [os.dup(listener.sock_for(self).fileno())]
        except OSError as error:
            text = str(error) if error.errno is None else os.strerror(error.errno)  # "AF_UNIX path too long" has none
            self.channel.send(encode(kinds.REFUSED, number, error.errno or errno.EINVAL, text))
            return
        except ValueError as error:  # no such policy
            self.channel.send(encode(kinds.REFUSED, number, errno.EINVAL, str(error)))
            return
        listener.holders.add(self)
        self.channel.send(encode(kinds.LISTENED, number, listener.number, listener.hands_over), tuple(fds), closer(fds))

    def _on_serving(self, number: int) -> None:
        listener = self._listeners.get(number)
        if listener is not None and self.takes_connections:
            listener.serve(self)
            self.ports.add(number)
            self._listening(listener.address)

    def _on_unlisten(self, number: int) -> None:
        self.ports.discard(number)
        if listener := self._listeners.get(number):
            self._listeners.release(self, listener)

    def _on_taken(self, number: int, count: int, returned: int) -> None:
        if count < 0 or returned < 0:
            raise ProtocolError(f"{count} connections taken, {returned} returned")
        self.open += count
        self.accepted += count
        self.returned += returned
        if listener := self._listeners.get(number):
            listener.taken(self, count, returned)

    def _on_accepted(self, number: int, count: int) -> None:
        self.open += count
        self.accepted += count

    def _on_closed(self, number: int, count: int) -> None:
        self.open -= count
        self.tell_policies()
