"""What shared ports and policies know of one worker, and the requests that it sends about ports."""

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
from ...errors import ProtocolError
from ...events import Address
from .table import PortTable


class Backend:
    """A worker as ports and policies see it.

    Args:
        channel: The worker's channel.
        table: The primary's shared ports.
        weight: Its share under weighted scheduling.
        slot: The number of its slot in the cluster. Its replacement gets the same slot.
        scheduling: The policy of ports that it opens without naming one.
        listening: Called with the address when the worker listens on a port.

    Attributes:
        takes_connections: Whether it may be sent connections: it is not leaving and has not failed.
        has_failed: Whether it failed or ended unexpectedly: its ports stay open for its replacement.
        open: How many connections from shared ports it has open.
        under_way: How many connections it has been sent and has not taken yet.
        accepted: How many connections it has taken since it started.
        returned: How many connections it has returned.
        redispatched: How many connections it had not taken when it ended; they went to other workers.
        delay: How late its event loop is, in seconds, smoothed; 0.0 if unknown.
        ports: The numbers of the shared ports that it listens on.
    """

    def __init__(
        self,
        channel: Channel,
        table: PortTable,
        *,
        weight: int,
        slot: int,
        scheduling: Any,
        listening: Callable[[Address], None],
    ) -> None:
        self.channel = channel
        self.weight = weight
        self.slot = slot
        self.takes_connections = True
        self.has_failed = False
        self.open = 0
        self.under_way = 0
        self.accepted = 0
        self.returned = 0
        self.redispatched = 0
        self.delay = 0.0
        self.ports: set[int] = set()
        self._table = table
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
        """How many connections it has open or has been sent."""
        return self.open + self.under_way

    def late(self, delay: float) -> None:
        """Its event loop was this many seconds late."""
        self.delay += 0.3 * (delay - self.delay)
        self.tell_policies()

    def tell_policies(self) -> None:
        """Its ``connections`` or ``delay`` have changed."""
        self._table.changed(self)

    def stop(self, *, for_good: bool) -> None:
        """Sends it no more connections. It may still take or return those that it was sent.

        Args:
            for_good: Whether it is leaving; else it has failed, and its slot waits for a replacement.
        """
        self.takes_connections = False
        self.has_failed = not for_good
        self._table.stop(self, for_good=for_good)

    def leave(self, *, voluntary: bool) -> None:
        """The worker has ended.

        Args:
            voluntary: Whether it was leaving; else its ports stay open for its replacement.
        """
        self.takes_connections = False
        self.has_failed = not voluntary
        self._table.forget(self)
        self.open = 0

    # ---- frames from the worker

    def _on_listen(self, number: int, fields: dict[str, Any]) -> None:
        backlog, scheduling, mode = fields.pop("backlog"), fields.pop("scheduling"), fields.pop("mode", None)
        try:
            port = self._table.open(
                Endpoint(**fields), backlog=backlog, scheduling=scheduling, default=self._scheduling, mode=mode
            )
            fds = [os.dup(port.sock_for(self).fileno())]
        except OSError as error:
            text = str(error) if error.errno is None else os.strerror(error.errno)  # "AF_UNIX path too long" has none
            self.channel.send(encode(kinds.REFUSED, number, error.errno or errno.EINVAL, text))
            return
        except ValueError as error:  # no such policy
            self.channel.send(encode(kinds.REFUSED, number, errno.EINVAL, str(error)))
            return
        port.holders.add(self)
        self.channel.send(encode(kinds.LISTENED, number, port.number, port.hands_over), tuple(fds), closer(fds))

    def _on_serving(self, number: int) -> None:
        port = self._table.get(number)
        if port is not None and self.takes_connections:
            port.serve(self)
            self.ports.add(number)
            self._listening(port.address)

    def _on_unlisten(self, number: int) -> None:
        self.ports.discard(number)
        if port := self._table.get(number):
            self._table.release(self, port)

    def _on_taken(self, number: int, count: int, returned: int) -> None:
        if count < 0 or returned < 0:
            raise ProtocolError(f"{count} connections taken, {returned} returned")
        self.open += count
        self.accepted += count
        self.returned += returned
        if port := self._table.get(number):
            port.taken(self, count, returned)

    def _on_accepted(self, number: int, count: int) -> None:
        self.open += count
        self.accepted += count

    def _on_closed(self, number: int, count: int) -> None:
        self.open -= count
        self.tell_policies()
