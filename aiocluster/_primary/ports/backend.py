"""What shared ports and policies know of one worker, and the requests that it sends about ports."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from ..._wire import frames
from ..._wire.channel import Channel
from ..._wire.frame import Frame, Route, on, on_ints
from ...address import Address
from ...errors import ProtocolError
from ..life import Life
from . import bind
from .table import Place, PortTable

logger = logging.getLogger("aiocluster.ports")

MOST_PORTS = 1024
"""The most ports that one worker may have open. A limit on what it can make the primary keep."""


class Backend:
    """A worker as ports and policies see it.

    Args:
        channel: The worker's channel.
        life: Where the worker is in its life.
        table: The primary's shared ports.
        weight: Its share under weighted scheduling.
        slot: The number of its slot in the cluster. Its replacement gets the same slot.
        place: What its replacement inherits.
        scheduling: The policy of ports that it opens without naming one.
        listening: Called with the address when the worker listens on a port.

    Attributes:
        open: How many connections from shared ports it has open.
        under_way: How many connections it has been sent and has not taken yet.
        accepted: How many connections it has taken since it started.
        returned: How many connections it has returned.
        redispatched: How many connections it had not taken when it ended; they went to other workers.
        delay: How late its event loop is, in seconds, smoothed; 0.0 if unknown.
        ports: The numbers of the shared ports that it listens on.
        routes: The frames that it hears.
    """

    def __init__(
        self,
        channel: Channel,
        life: Life,
        table: PortTable,
        *,
        weight: int,
        slot: int,
        place: Place,
        scheduling: Any,
        listening: Callable[[Address], None],
    ) -> None:
        self.channel = channel
        self.life = life
        self.weight = weight
        self.slot = slot
        self.place = place
        self.open: int = 0
        self.under_way = 0
        self.accepted: int = 0
        self.returned: int = 0
        self.redispatched = 0
        self.delay: float = 0.0
        self.ports: set[int] = set()
        self._given: set[int] = set()  # the numbers of the ports that it asked for, got, and has not given back
        self._table = table
        self._scheduling = scheduling
        self._listening = listening
        self.routes: tuple[Route, ...] = (
            on(frames.Listen, self._on_listen),
            on(frames.Serving, self._on_serving),
            on(frames.Unlisten, self._on_unlisten),
            on_ints(frames.Taken, self._on_taken),
            on_ints(frames.Accepted, self._on_accepted),
            on_ints(frames.Closed, self._on_closed),
        )

    @property
    def connections(self) -> int:
        """How many connections it has open or has been sent."""
        return self.open + self.under_way

    def late(self, delay: float) -> None:
        """Its event loop was this many seconds late."""
        self.delay += 0.3 * (delay - self.delay)
        self.tell_policies()

    def tell(self, frame: Frame) -> None:
        """Sends the worker a frame, unless its channel is closed."""
        if not self.channel.is_closed:
            self.channel.send(frame.encode())

    def tell_policies(self) -> None:
        """Its ``connections`` or ``delay`` have changed."""
        self._table.changed(self)

    def stop(self) -> None:
        """It is leaving, or has failed: sends it no more connections. It may still take or return those it was sent."""
        self._table.stop(self)

    def leave(self) -> None:
        """The worker has ended. If it was not leaving, its ports stay open for its replacement."""
        self._table.forget(self)
        self.open = 0

    # ---- frames from the worker

    def _check(self, number: int) -> None:
        """Raises ProtocolError if the worker does not have this port: it would get other workers' clients."""
        if number not in self._given:
            raise ProtocolError(f"port {number}, which it does not have")

    def _on_listen(self, frame: frames.Listen) -> None:
        bind.check(frame.endpoint)
        try:
            if len(self._given) >= MOST_PORTS:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            port = self._table.open(
                frame.endpoint,
                backlog=frame.backlog,
                scheduling=frame.scheduling,
                default=self._scheduling,
                mode=frame.mode,
                is_listening=frame.is_listening,
            )
            fds = [os.dup(port.sock_for(self).fileno())]
        except OSError as error:
            text = str(error) if error.errno is None else os.strerror(error.errno)  # "AF_UNIX path too long" has none
            self.tell(frames.Refused(frame.number, error.errno or errno.EINVAL, text))
            return
        except (ValueError, OverflowError) as error:  # no such policy, or a port or backlog out of range
            self.tell(frames.Refused(frame.number, errno.EINVAL, str(error)))
            return
        except BaseException as error:  # the user's own policy could not be made: the worker would wait for ever
            logger.error("%s can't be opened", frame.endpoint, exc_info=error)
            self.tell(frames.Refused(frame.number, errno.EINVAL, f"{type(error).__name__}: {error}"))
            return
        self._given.add(port.number)
        self._table.got(self, port)
        listened = frames.Listened(frame.number, port.number, port.hands_over)
        self.channel.send(listened.encode(), fds, partial(os.close, fds[0]))

    def _on_serving(self, frame: frames.Serving) -> None:
        self._check(frame.port)
        port = self._table.by_number.get(frame.port)
        if port is None or not self.life.takes_connections or self._table.is_closed:
            return
        try:
            port.listen()
        except OSError as error:  # another process has begun to listen there
            logger.error("%s: %s", port.address, error.strerror)
        else:
            port.serve(self)
            self.ports.add(port.number)
            self._table.serving(self)
            self._listening(port.address)

    def _on_unlisten(self, frame: frames.Unlisten) -> None:
        self._check(frame.port)
        self._given.discard(frame.port)
        if port := self._table.by_number.get(frame.port):
            self._table.release(self, port)
        self.ports.discard(frame.port)
        self.tell(frames.Unlistened(frame.port))

    def _on_taken(self, number: int, count: int, returned: int) -> None:
        if port := self._table.by_number.get(number):
            port.taken(self, count, returned)
        self.open += count
        self.accepted += count
        self.returned += returned

    def _on_accepted(self, number: int, count: int) -> None:
        if count < 0:
            raise ProtocolError(f"{count} connections accepted")
        self.open += count
        self.accepted += count

    def _on_closed(self, number: int, count: int) -> None:
        if not 0 <= count <= self.open:
            raise ProtocolError(f"{count} connections closed, of {self.open} open")
        self.open -= count
        self.tell_policies()
