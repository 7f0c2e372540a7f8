"""What shared ports and policies know of one worker, and the requests that it sends about ports."""

from __future__ import annotations

import errno
import logging
import os
import resource
from collections.abc import Callable
from functools import partial
from typing import Any

from ..._wire import frames
from ..._wire.channel import Channel
from ..._wire.descriptors import Descriptors
from ..._wire.frame import Frame, Route, on, on_descriptors, on_ints
from ...address import Address
from ...errors import ProtocolError
from ..life import Life
from . import bind
from .busy import BusyShare
from .port import Port
from .rights import rights_of
from .socket_file import SocketFile
from .table import Place, PortTable
from .turns import Turn

logger = logging.getLogger("aiocluster.ports")


def most_ports() -> int:
    """The most ports that one worker may have open: no worker can use up the primary's descriptors alone."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(1024, most // 4))


class Backend:
    """A worker as ports and policies see it.

    Args:
        channel: The worker's channel.
        life: Where the worker is in its life.
        table: The primary's shared ports.
        weight: Its share under weighted scheduling.
        slot: The number of its slot in the cluster. Its replacement gets the same slot.
        place: What its replacement inherits.
        scheduling: Returns the policy of ports that it opens now without naming one.
        listening: Called with the address when the worker listens on a port.
        pid: The worker's pid.
        has_other_rights: Whether it runs as another user or group than the primary.

    Attributes:
        open: How many connections from shared ports it has open.
        under_way: How many connections it has been sent and has not taken yet.
        accepted: How many connections it has taken since it started.
        returned: How many connections it has returned.
        redispatched: How many connections it had not taken when it ended; they went to other workers.
        delay: How late its event loop is, in seconds, smoothed; 0.0 if unknown.
        busy_share: How busy its event loop is.
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
        scheduling: Callable[[], Any],
        listening: Callable[[Address], None],
        pid: int,
        has_other_rights: bool,
    ) -> None:
        self.channel = channel
        self.life = life
        self.weight = weight
        self.slot = slot
        self.place = place
        self.open: int = 0
        self.under_way: int = 0
        self.accepted: int = 0
        self.returned: int = 0
        self.redispatched: int = 0
        self.delay: float = 0.0
        self.busy_share: BusyShare = BusyShare()
        self.ports: set[int] = set()
        self._given: set[int] = set()  # the numbers of the ports that it asked for, got, and has not given back
        self._asks: dict[int, tuple[frames.Listen, Turn]] = {}  # for paths that it is to bind, by their number
        self._table = table
        self._scheduling = scheduling
        self._listening = listening
        self._pid = pid
        self._has_other_rights = has_other_rights
        self.routes: tuple[Route, ...] = (
            on(frames.Listen, self._on_listen),
            on_descriptors(frames.Bound, self._on_bound),
            on(frames.Unbound, self._on_unbound),
            on(frames.Serving, self._on_serving),
            on(frames.Unlisten, self._on_unlisten),
            on_ints(frames.Taken, self._on_taken),
            on_ints(frames.Ready, self._on_ready),
            on_ints(frames.Accepted, self._on_accepted),
            on_ints(frames.Closed, self._on_closed),
        )

    @property
    def connections(self) -> int:
        """How many connections it has open or has been sent."""
        return self.open + self.under_way

    @property
    def busy(self) -> float | None:
        """The share of time that its event loop does not wait for I/O, smoothed, 0.0 to 1.0; None: unknown."""
        return self.busy_share.value

    def reported(self, delay: float, busy: float | None, seconds: float) -> None:
        """Its event loop was ``delay`` seconds late, and busy for a share of the seconds since its last report."""
        self.delay += 0.3 * (delay - self.delay)
        self.busy_share.reported(busy, seconds)
        self.tell_policies()

    def silent(self, seconds: float) -> None:
        """It has not reported for so many seconds, and should have."""
        self.busy_share.silent(seconds)
        self.tell_policies()

    def tell(self, frame: Frame) -> None:
        """Sends the worker a frame, unless its channel is closed."""
        if not self.channel.is_closed:
            self.channel.send(frame.encode())

    def tell_policies(self) -> None:
        """Its ``connections``, ``delay`` or ``busy`` have changed."""
        self._table.changed(self)

    def stop(self) -> None:
        """It is leaving, or has failed: sends it no more connections. It may still take or return those it was sent."""
        self._table.stop(self)

    def leave(self) -> None:
        """The worker has ended. If it was not leaving, its ports stay open for its replacement."""
        for _, turn in self._asks.values():
            self._table.turns.end(turn)
        self._asks.clear()
        self._table.forget(self)
        self.open = 0

    # ---- frames from the worker

    def _check(self, number: int) -> None:
        """Raises ProtocolError if the worker does not have this port: it would get other workers' clients."""
        if number not in self._given:
            raise ProtocolError(f"port {number}, which it does not have")

    def _on_listen(self, frame: frames.Listen) -> None:
        endpoint = frame.endpoint
        bind.check(frame)
        if len(self._given) + len(self._asks) >= most_ports():
            self._refuse(frame.number, errno.EMFILE, os.strerror(errno.EMFILE))
        elif endpoint.path:
            self._on_listen_at_path(frame)
        elif endpoint.fd >= 0 and self._has_other_rights and not self._table.is_offered(endpoint.fd):
            self._refuse(frame.number, errno.EACCES, os.strerror(errno.EACCES))
        else:
            self._answer(frame, partial(self._table.open, endpoint))

    def _on_listen_at_path(self, frame: frames.Listen) -> None:
        if frame.number in self._asks:
            raise ProtocolError(f"a second request with the number {frame.number}")
        port = self._table.at(frame.endpoint, frame.inode)
        if port is None:
            turn = Turn(frame.endpoint.path, lambda: self._begin_turn(frame, turn))
            self._asks[frame.number] = frame, turn
            self._table.turns.add(turn)
        elif port.number in self._given:
            self._refuse(frame.number, errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        else:
            self._answer(frame, lambda **how: port)

    def _begin_turn(self, frame: frames.Listen, turn: Turn) -> None:
        """The worker may bind the path, unless an earlier one has, and it could not see that by any file."""
        if self._table.at(frame.endpoint, frame.inode) is None:
            self.tell(frames.Bind(frame.number))
        else:
            del self._asks[frame.number]
            self._table.turns.end(turn)
            self._on_listen_at_path(frame)

    def _on_bound(self, frame: frames.Bound, descriptors: Descriptors) -> None:
        listen, turn = self._ask(frame.number)
        if turn.state == "waiting":
            raise ProtocolError("it bound a path before its turn had come")
        if turn.state == "over":  # it was too late: another worker may have bound the path
            self._table.turns.add(turn)
            return
        del self._asks[frame.number]
        try:
            sock = bind.adopt(descriptors.take())
        except OSError as error:
            self._refuse(frame.number, error.errno or errno.EINVAL, os.strerror(error.errno or errno.EINVAL))
        else:
            file = SocketFile.of(listen.endpoint.path, frame.inode, rights_of(self._pid), listen.cleanup)
            self._answer(listen, partial(self._table.share, listen.endpoint, sock, file, by=self))
        finally:
            self._table.turns.end(turn)

    def _on_unbound(self, frame: frames.Unbound) -> None:
        _, turn = self._ask(frame.number)
        del self._asks[frame.number]
        self._table.turns.end(turn)

    def _ask(self, number: int) -> tuple[frames.Listen, Turn]:
        if number not in self._asks:
            raise ProtocolError(f"an answer about a path that it did not ask for ({number})")
        return self._asks[number]

    def _answer(self, frame: frames.Listen, open: Callable[..., Port]) -> None:
        """Gives the worker the port that ``open`` returns, or tells it why it can't have it."""
        try:
            port = open(backlog=frame.backlog, scheduling=frame.scheduling, default=self._scheduling())
            if frame.is_listening:
                self._table.listen(port)
            fds = [os.dup(port.sock_for(self).fileno())]
        except OSError as error:
            text = str(error) if error.errno is None else os.strerror(error.errno)
            self._refuse(frame.number, error.errno or errno.EINVAL, text)
            return
        except (ValueError, OverflowError) as error:  # no such policy, or a port or backlog out of range
            self._refuse(frame.number, errno.EINVAL, str(error))
            return
        except BaseException as error:  # the user's own policy could not be made: the worker would wait for ever
            logger.error("%s can't be opened", frame.endpoint, exc_info=error)
            self._refuse(frame.number, errno.EINVAL, f"{type(error).__name__}: {error}")
            return
        self._given.add(port.number)
        self._table.got(self, port)
        listened = frames.Listened(frame.number, port.number, port.hands_over)
        self.channel.send(listened.encode(), fds, partial(os.close, fds[0]))

    def _refuse(self, number: int, code: int, text: str) -> None:
        self.tell(frames.Refused(number, code, text))

    def _on_serving(self, frame: frames.Serving) -> None:
        self._check(frame.port)
        port = self._table.by_number.get(frame.port)
        if port is None or not self.life.takes_connections or self._table.is_closed:
            return
        try:
            self._table.listen(port)
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

    def _on_accepted(self, number: int, count: int, shortest: int, longest: int) -> None:
        if not (count >= 0 and 0 <= shortest <= longest):
            raise ProtocolError(f"{count} connections accepted that waited {shortest} to {longest} ms")
        if (waits := self._table.waits) is not None:
            waits.add(longest / 1000, count - count // 2)
            if count > 1:
                waits.add(shortest / 1000, count // 2)
        if port := self._table.by_number.get(number):
            port.pulled(self, count)
        self.open += count
        self.accepted += count
        self.tell_policies()

    def _on_ready(self, number: int, count: int, told: int, nanoseconds: int) -> None:
        if port := self._table.by_number.get(number):
            port.ready(self, count, told, nanoseconds / 1e9)

    def detached(self) -> None:
        """No event loop of the worker runs any more, so it will say of no connection that it is ready with it."""
        for number in self.ports:
            if port := self._table.by_number.get(number):
                port.detached(self)

    def _on_closed(self, number: int, count: int) -> None:
        if not 0 <= count <= self.open:
            raise ProtocolError(f"{count} connections closed, of {self.open} open")
        self.open -= count
        self.tell_policies()
