"""The client of uneven work, in a process of its own: one thread, plain sockets, one selector.

A latency counts from the moment at which the request was *planned* to arrive. So what a late client adds is seen, and
not hidden (coordinated omission); how late it was is told too.
"""

from __future__ import annotations

import errno
import gc
import heapq
import json
import re
import select
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from .uneven_work import Mix, Request, Turn, stepped, turns

GIVE_UP = 20.0
"""Seconds after the last arrival, when what is still open counts as unanswered."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Answer(NamedTuple):
    """A request that was answered. All in seconds."""

    at: float
    """When it was planned to arrive, from the beginning."""
    latency: float
    """From there to the whole answer."""
    late: float
    """From there to when it was sent."""
    pid: int
    """Who answered."""
    connection: int


class _Failure(Exception):
    """This request won't be answered; its text says of which kind that is."""


class _Exchange:
    """A connection, and the one request that is under way on it."""

    def __init__(self, port: int, key: int) -> None:
        self.key = key
        self.at = 0.0
        self.sent = 0.0
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._outgoing = b""
        self._answer = b""
        if (code := self.socket.connect_ex(("127.0.0.1", port))) not in (0, errno.EINPROGRESS):
            self.socket.close()
            raise OSError(code, "connect")

    def ask(self, request: Request, now: float, head: bytes) -> None:
        self.at, self.sent = request.at, now
        self._outgoing = b"GET /%d HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (round(request.seconds * 1e6), head)
        self._answer = b""

    @property
    def wants(self) -> int:
        return selectors.EVENT_WRITE if self._outgoing else selectors.EVENT_READ

    def proceed(self) -> bytes | None:
        """Send or receive what can be; the body once the answer is complete.

        Raises:
            _Failure: The connection ended, or the answer is no success.
        """
        try:
            if self._outgoing:
                self._outgoing = self._outgoing[self.socket.send(self._outgoing) :]
                return None
            if not (data := self.socket.recv(65536)):
                raise _Failure("closed")
        except BlockingIOError:
            return None
        except OSError as error:
            raise _Failure(errno.errorcode.get(error.errno or 0, "OSError")) from None
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return None
        if not re.match(rb"HTTP/1\.[01] 200 ", head):
            raise _Failure("status")
        length = _LENGTH.search(head)
        if length is None:
            raise _Failure("no Content-Length")
        return body if len(body) >= int(length[1]) else None


class _Plan(Protocol):
    """What is to be asked when; and on which connection."""

    head: bytes
    """Further header lines of each request."""

    def due(self) -> float | None:
        """When the next request arrives; None when there is none before another answer."""

    def take(self) -> tuple[int, Request]:
        """The one that is due: the number of its connection, and the request."""

    def answered(self, key: int, now: float) -> bool:
        """A connection's request is done, or has failed. Whether the connection, if there is one, stays."""


class _Open:
    """A connection for each request, at times that are fixed beforehand."""

    head = b"Connection: close\r\n"

    def __init__(self, requests: list[Request]) -> None:
        self._left = iter(enumerate(requests))
        self._next = next(self._left, None)

    def due(self) -> float | None:
        return None if self._next is None else self._next[1].at

    def take(self) -> tuple[int, Request]:
        assert self._next is not None
        taken, self._next = self._next, next(self._left, None)
        return taken

    def answered(self, key: int, now: float) -> bool:
        return False


class _Closed:
    """Connections that stay: each asks, waits for the answer, thinks, and asks again."""

    head = b""

    def __init__(self, clients: list[Iterator[Turn]], seconds: float) -> None:
        self._clients = clients
        self._seconds = seconds
        self._due: list[tuple[float, int, float]] = []
        for key in range(len(clients)):
            self._plan(key, 0.0)

    def due(self) -> float | None:
        return self._due[0][0] if self._due else None

    def take(self) -> tuple[int, Request]:
        at, key, seconds = heapq.heappop(self._due)
        return key, Request(at, seconds)

    def answered(self, key: int, now: float) -> bool:
        self._plan(key, now)
        return True

    def _plan(self, key: int, now: float) -> None:
        turn = next(self._clients[key])
        if now + turn.think < self._seconds:
            heapq.heappush(self._due, (now + turn.think, key, turn.seconds))


class _Client:
    """Carries out a plan."""

    def __init__(self, port: int, plan: _Plan) -> None:
        self._port = port
        self._plan = plan
        self._selector = selectors.DefaultSelector()
        self._exchanges: dict[int, _Exchange] = {}
        self._began = 0.0
        self.answers: list[Answer] = []
        self.errors: Counter[str] = Counter()

    def connect(self, number: int) -> None:
        """Open the connections that stay, before the clock starts."""
        for key in range(number):
            exchange = self._exchanges[key] = _Exchange(self._port, key)
            self._selector.register(exchange.socket, selectors.EVENT_WRITE, exchange)
        for exchange in self._exchanges.values():
            select.select([], [exchange.socket], [], GIVE_UP)
            self._selector.unregister(exchange.socket)

    def run(self) -> None:
        self._began = time.monotonic()
        last = 0.0
        while True:
            now = time.monotonic() - self._began
            while (due := self._plan.due()) is not None and due <= now:
                self._ask(*self._plan.take())
                last = now = time.monotonic() - self._began
            waiting = bool(self._selector.get_map())
            if due is None and not waiting:
                break
            if due is None and now - last > GIVE_UP:
                self.errors["unanswered"] += len(self._selector.get_map())
                break
            self._wait(GIVE_UP if due is None else due - now)
        for exchange in self._exchanges.values():
            exchange.socket.close()
        self._selector.close()

    def _wait(self, seconds: float) -> None:
        # The selector's own timeout is in milliseconds; this one is in microseconds.
        if not select.select([self._selector], [], [], seconds)[0]:
            return
        for key, _ in self._selector.select(0):
            self._proceed(key.data)

    def _ask(self, key: int, request: Request) -> None:
        exchange = self._exchanges.get(key)
        if exchange is None:
            try:
                exchange = self._exchanges[key] = _Exchange(self._port, key)
            except OSError as error:
                self.errors[errno.errorcode.get(error.errno or 0, "OSError")] += 1
                self._plan.answered(key, time.monotonic() - self._began)
                return
        exchange.ask(request, time.monotonic() - self._began, self._plan.head)
        self._selector.register(exchange.socket, selectors.EVENT_WRITE, exchange)
        self._proceed(exchange)

    def _proceed(self, exchange: _Exchange) -> None:
        before = exchange.wants
        try:
            body = exchange.proceed()
        except _Failure as failure:
            self.errors[str(failure)] += 1
            self._selector.unregister(exchange.socket)
            self._plan.answered(exchange.key, time.monotonic() - self._began)
            self._close(exchange)
            return
        if body is None:
            if exchange.wants != before:
                self._selector.modify(exchange.socket, exchange.wants, exchange)
            return
        now = time.monotonic() - self._began
        late = exchange.sent - exchange.at
        self.answers.append(Answer(exchange.at, now - exchange.at, late, int(body), exchange.key))
        self._selector.unregister(exchange.socket)
        if not self._plan.answered(exchange.key, now):
            self._close(exchange)

    def _close(self, exchange: _Exchange) -> None:
        exchange.socket.close()
        del self._exchanges[exchange.key]


def open_loop(port: str, seed: str, steps: str, mix: str) -> dict[str, Any]:
    """In the client: requests at random times, each over a connection of its own; steps and mix are JSON."""
    client = _Client(int(port), _Open(stepped(int(seed), json.loads(steps), Mix(*json.loads(mix)))))
    return _carried_out(client)


def closed_loop(port: str, seed: str, clients: str, think: str, seconds: str, mix: str) -> dict[str, Any]:
    """In the client: so many connections that stay, each with its own requests and thinking time; the mix is JSON."""
    each = [turns(int(seed), number, float(think), Mix(*json.loads(mix))) for number in range(int(clients))]
    client = _Client(int(port), _Closed(each, float(seconds)))
    client.connect(int(clients))
    return _carried_out(client)


def _carried_out(client: _Client) -> dict[str, Any]:
    gc.freeze()
    gc.disable()  # its pauses would be taken for the server's
    client.run()
    return {"answers": client.answers, "errors": dict(client.errors)}
