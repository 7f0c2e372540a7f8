"""The control socket in the primary: takes requests, one a connection, and has the cluster carry them out.

Only the same user and root may connect. A client that is slow, or sends nonsense, costs a task until its time is over;
there is a bounded number of them, and others wait until one of these is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from ..errors import ProtocolError
from . import protocol
from .peer import peer_uid

logger = logging.getLogger("aiocluster.control")

_CONNECTIONS = 16  # at a time
_BACKLOG = 16
_REQUEST_WITHIN = 5.0  # seconds for a whole request
_TAKEN_WITHIN = 5.0  # seconds for a client to take an answer
_PAUSE = 1.0  # seconds without accepting, when there are no descriptors
_MOST_PROGRESS = 10_000  # events that may wait for a client; those beyond are left out

Tell = Callable[[dict[str, Any]], None]


class Controlled(Protocol):
    """What a control socket may ask of its cluster."""

    def describe(self) -> dict[str, Any]:
        """Returns all that is known, as JSON carries it."""

    def watch(self, tell: Tell) -> Callable[[], None]:
        """Calls ``tell`` with what happens to workers, until the returned function is called."""

    async def wait_up(self, seconds: float) -> None:
        """Returns when the first workers are online and one listens, or so many seconds later."""

    async def reload(self, env: dict[str, str] | None) -> None:
        """Replaces all workers, with these variables added to the environment."""

    async def scale(self, low: int, high: int) -> None:
        """Changes the number of workers."""

    async def resize(self, by: int) -> None:
        """Changes the number of workers by so many."""

    def stop(self, graceful: bool) -> None:
        """Begins to stop."""

    async def inspect(self, place: int | str | None, what: str, seconds: float, rate: float) -> dict[str, Any]:
        """Looks inside workers; see `protocol.Inspect`."""


class ControlServer:
    """Listens on a control socket.

    Args:
        cluster: What the requests are about.
        errors: The errors of the cluster that are the client's to know; any other is a bug, and logged.
    """

    def __init__(self, cluster: Controlled, errors: tuple[type[Exception], ...]) -> None:
        self._cluster = cluster
        self._errors = errors
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_full = False
        self._over = asyncio.Event()
        self._why_over: str | None = None
        self._resume: asyncio.TimerHandle | None = None

    def open(self, path: Path) -> None:
        """Listens at this path from now on. The caller must call `close` later.

        Raises:
            OSError: It can't: the path is too long, or the folder read-only.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.bind(os.fspath(path))
            os.chmod(path, 0o600)
            listener.listen(_BACKLOG)
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)
        except BaseException:
            listener.close()
            raise
        self._listener, self._path = listener, path

    def shut(self) -> None:
        """Accepts nobody any more. Idempotent."""
        if self._resume is not None:
            self._resume.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    async def close(self, why: str | None) -> None:
        """Tells the clients that the cluster is over, and closes all.

        Args:
            why: Why it has ended, if it has failed.
        """
        self.shut()
        self._why_over = why
        self._over.set()
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_TAKEN_WITHIN)
        finally:
            for task in self._tasks:
                task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    # ---- connections

    def _accept(self) -> None:
        assert self._listener is not None
        for _ in range(_BACKLOG):
            if len(self._tasks) >= _CONNECTIONS:
                self._is_full = True  # the others wait in the backlog
                asyncio.get_running_loop().remove_reader(self._listener.fileno())
                return
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            connection.setblocking(False)
            if not _may_connect(connection):
                connection.close()
                continue
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._on_served)

    def _on_served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._is_full and self._listener is not None:
            self._is_full = False
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def _pause(self, error: OSError) -> None:
        """Accepts nobody for a while: as long as there are no descriptors, the listener would wake the loop on end."""
        assert self._listener is not None
        logger.warning("the control socket accepts nobody for %g s: %s", _PAUSE, error.strerror or error)
        loop, fd = asyncio.get_running_loop(), self._listener.fileno()
        loop.remove_reader(fd)
        self._resume = loop.call_later(_PAUSE, loop.add_reader, fd, self._accept)

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                async with asyncio.timeout(_REQUEST_WITHIN):
                    request = await _receive(connection)
                if request is not None:
                    await self._answer(_Client(connection), request)
            except ProtocolError as error:
                logger.debug("a client of the control socket: %s", error)
                with contextlib.suppress(OSError):
                    await _Client(connection).send(protocol.Refused(str(error)))
            except OSError as error:  # a TimeoutError, too
                logger.debug("a client of the control socket has gone, or is too slow: %r", error)
            except Exception:  # a bug of ours costs this connection, nothing else
                logger.exception("a request on the control socket has failed")

    # ---- requests

    async def _answer(self, client: _Client, request: protocol.Request) -> None:
        cluster = self._cluster
        match request:
            case protocol.Describe():
                await client.send(protocol.Done(cluster.describe()))
            case protocol.Up():
                await self._carry_out(client, cluster.wait_up(request.seconds))
            case protocol.Reload():
                await self._carry_out(client, cluster.reload(request.env))
            case protocol.Scale():
                await self._carry_out(client, cluster.scale(request.low, request.high))
            case protocol.Resize():
                await self._carry_out(client, cluster.resize(request.by))
            case protocol.Stop():
                await self._carry_out(client, self._stop(request.graceful))
            case protocol.Inspect():
                look = cluster.inspect(request.place, request.what, request.seconds, request.rate)
                await self._carry_out(client, look)

    async def _stop(self, graceful: bool) -> None:
        self._cluster.stop(graceful)
        await self._over.wait()

    async def _carry_out(self, client: _Client, work: Coroutine[Any, Any, dict[str, Any] | None]) -> None:
        """Tells the client of the progress until the work is done. A client that goes does not undo it."""
        loop = asyncio.get_running_loop()
        working = loop.create_task(work)
        stop_watching = self._cluster.watch(client.tell)
        telling = loop.create_task(client.pass_on())
        others = {telling, loop.create_task(client.gone()), loop.create_task(self._end())}
        try:
            await asyncio.wait({working, *others}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and self._over.is_set():
                await asyncio.wait({working}, timeout=0)  # it may wait for the same
            client.end_of_news()
            if not client.is_gone:
                await asyncio.wait({telling})
        finally:
            stop_watching()
            for task in (working, *others):
                task.cancel()
            await asyncio.wait({working, *others})
        if not client.is_gone:
            await client.send(self._outcome(working))

    async def _end(self) -> None:
        await self._over.wait()

    def _outcome(self, working: asyncio.Task[dict[str, Any] | None]) -> protocol.Answer:
        if working.cancelled():
            return protocol.Refused(self._why_over or "the cluster has ended")
        error = working.exception()
        if error is None:
            return protocol.Done(working.result() or self._cluster.describe())
        if not isinstance(error, self._errors):
            logger.error("a request on the control socket has failed", exc_info=error)
        return protocol.Refused(str(error) or type(error).__name__)


class _Client:
    """The other end of a connection, once its request is known.

    Attributes:
        is_gone: Whether it has gone, or does not take what it is sent.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.is_gone: bool = False
        self._connection = connection
        self._news: deque[dict[str, Any]] = deque()
        self._is_end = False
        self._has_news = asyncio.Event()

    async def send(self, answer: protocol.Answer) -> None:
        """Sends an answer.

        Raises:
            OSError: The client has gone, or does not take it in time.
        """
        async with asyncio.timeout(_TAKEN_WITHIN):
            await asyncio.get_running_loop().sock_sendall(self._connection, protocol.encoded(answer))

    def tell(self, event: dict[str, Any]) -> None:
        """Has an event sent, or left out if the client is far behind."""
        if len(self._news) < _MOST_PROGRESS:
            self._news.append(event)
            self._has_news.set()

    def end_of_news(self) -> None:
        """Has `pass_on` return once all has been sent."""
        self._is_end = True
        self._has_news.set()

    async def pass_on(self) -> None:
        """Sends what there is to tell, until its end, or until the client has gone."""
        try:
            while self._news or not self._is_end:
                while self._news:
                    await self.send(protocol.Progress(self._news.popleft()))
                self._has_news.clear()
                if not self._is_end:
                    await self._has_news.wait()
        except OSError:
            self.is_gone = True

    async def gone(self) -> None:
        """Returns when the client has gone, or sends more than one request, which none does."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_recv(self._connection, 1)
        self.is_gone = True


def _may_connect(connection: socket.socket) -> bool:
    try:
        return peer_uid(connection) in (0, os.geteuid())
    except OSError:
        return False


async def _receive(connection: socket.socket) -> protocol.Request | None:
    """Returns the request; None if the client has gone before."""
    loop = asyncio.get_running_loop()
    decoder = protocol.requests()
    while data := await loop.sock_recv(connection, 65536):
        for frame in decoder.feed(data):
            return protocol.request(frame)
    return None
