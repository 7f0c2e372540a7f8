"""Asks running clusters, without asyncio: for the command, which a shell starts for each question."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from ..errors import ClusterError, ProtocolError
from . import protocol

_ANSWERS_WITHIN = 10.0  # seconds; a primary's loop is never busy for long, but clients that say nothing have 5 s

Told = Callable[[dict[str, Any]], None]


class ControlError(ClusterError):
    """A cluster can't be asked; the text says why."""


class NotRunningError(ControlError):
    """Nobody listens on the socket."""


class RefusedError(ControlError):
    """The cluster has answered that it did not do it; the text says why."""


def _nothing(event: dict[str, Any]) -> None:
    pass


class Connection:
    """A connection to a control socket, for one request. A context manager, which closes it.

    Args:
        path: The socket's file.

    Raises:
        NotRunningError: Nobody listens there.
        ControlError: It belongs to another user, or can't be reached.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = protocol.answers()
        self._frames: list[Any] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(_ANSWERS_WITHIN)
            self._socket.connect(str(path))
        except BaseException as error:
            self._socket.close()
            if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
                raise NotRunningError(f"nobody listens on {path}") from None
            if isinstance(error, PermissionError):
                raise ControlError(f"{path} belongs to another user") from None
            if isinstance(error, OSError):
                raise ControlError(f"{path}: {_reason(error)}") from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Its descriptor, for select(2)."""
        return self._socket.fileno()

    def send(self, request: protocol.Request) -> None:
        """Sends the request.

        Raises:
            ControlError: The cluster does not take it.
        """
        body = protocol.encoded(request)
        if len(body) > protocol.MAX_REQUEST:
            raise ControlError(f"the request has {len(body)} bytes; the limit is {protocol.MAX_REQUEST}")
        try:
            self._socket.sendall(body)
        except OSError as error:
            raise ControlError(f"{self._path}: {_reason(error)}") from None

    def receive(self, seconds: float | None) -> protocol.Answer | None:
        """Returns the next answer; None if there is none within so many seconds (None: no limit).

        Raises:
            ControlError: The connection has ended without one, or what came is no answer.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._frames:
            self._socket.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                return None
            except OSError as error:
                raise ControlError(f"{self._path}: {_reason(error)}") from None
            if not data:
                raise ControlError(
                    f"{self._path}: the connection was closed without an answer: the cluster has died, "
                    "or belongs to another user"
                )
            self._frames.extend(self._parsed(data))
        return protocol.answer(self._frames.pop(0))

    def _parsed(self, data: bytes) -> list[Any]:
        try:
            return list(self._decoder.feed(data))
        except ProtocolError as error:
            raise ControlError(f"{self._path}: {error}") from None

    def outcome(self, told: Told = _nothing, *, within: float | None = None) -> dict[str, Any]:
        """Returns what the last answer says.

        Args:
            told: Called with each event before that.
            within: Seconds for each answer; None: as long as it takes.

        Raises:
            RefusedError: The cluster did not do it.
            ControlError: It did not answer.
        """
        while True:
            match self.receive(within):
                case None:
                    raise ControlError(f"{self._path}: no answer within {within:g} s: is its event loop blocked?")
                case protocol.Progress() as progress:
                    told(progress.event)
                case protocol.Done() as done:
                    return done.body
                case protocol.Refused() as refused:
                    raise RefusedError(refused.text)

    def wait_closed(self, seconds: float) -> None:
        """Returns when the cluster has closed the connection, or after so many seconds."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(seconds)
            while self._socket.recv(65536):
                pass


def ask(path: Path, request: protocol.Request, told: Told = _nothing, *, within: float | None = None) -> dict[str, Any]:
    """Sends one request, and returns the outcome; see `Connection`."""
    with Connection(path) as connection:
        connection.send(request)
        return connection.outcome(told, within=within)


def describe(path: Path) -> dict[str, Any]:
    """Returns what the cluster tells of itself; see `Connection`."""
    return ask(path, protocol.Describe(), within=_ANSWERS_WITHIN)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
