"""Makes transports of accepted connections, without a task for each.

`loop.connect_accepted_socket` is a coroutine, but for a connection without TLS it only waits until the protocol's
`connection_made` has been called, in the loop's next turn. A task costs as much Python as all the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from .port import Connection

logger = logging.getLogger("aiocluster.server")


def connect(loop: asyncio.AbstractEventLoop, factory: Callable[[], Any], sock: Connection) -> None:
    """Serves this connection. If that fails, closes it, and tells as asyncio's own servers do.

    Args:
        loop: The running loop, one of asyncio's or uvloop's.
        factory: Returns the protocol.
        sock: The connection.
    """
    _Connecting(loop, loop.connect_accepted_socket(factory, sock), sock)(None)


def failed(loop: asyncio.AbstractEventLoop, sock: Connection, error: BaseException) -> None:
    """This connection can't be served: closes it, and tells whom it concerns."""
    sock.close()
    if isinstance(error, OSError):  # a failed handshake, or the client has disconnected
        logger.debug("can't serve a connection: %s", error)
    elif isinstance(error, Exception):
        loop.call_exception_handler(
            {"message": "Error on transport creation for incoming connection", "exception": error}
        )


class _Connecting:
    """Goes through the coroutine as a task does: called at first, and whenever what it waits for is done."""

    __slots__ = ("_coroutine", "_loop", "_sock")

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], sock: Connection) -> None:
        self._loop = loop
        self._coroutine = coroutine
        self._sock = sock

    def __call__(self, done: asyncio.Future[Any] | None) -> None:
        sock = self._sock
        try:
            waiter = self._coroutine.send(None)
        except StopIteration as end:
            if sock.port is not None:  # else it is closed already
                sock.transport, _ = end.value
        except BaseException as error:
            failed(self._loop, sock, error)
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                self._loop.call_soon(_raise, error)  # out of the loop, not into whoever brought it
        else:
            waiter._asyncio_future_blocking = False  # it is being waited for; see `asyncio.Future.__await__`
            waiter.add_done_callback(self)


def _raise(error: BaseException) -> NoReturn:
    raise error
