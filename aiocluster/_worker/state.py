"""How a worker reaches the state of its cluster."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._state.open import open_state
from .._wire import frames
from .._wire.descriptors import Descriptors
from .._wire.frame import Frame, Route, on, on_descriptors
from ..errors import BackplaneError, ChannelClosedError, ClusterError

if TYPE_CHECKING:
    from .._state.state import State


class StateOpener:
    """Asks the primary for channels to the state's process.

    Args:
        url: Where the state is.
        tell: Sends the primary a frame.
        loop: Returns the loop that hears the primary; None if none does.

    Attributes:
        state: What users have of it.
        routes: The frames that answer.
    """

    def __init__(
        self, url: str, tell: Callable[[Frame], None], loop: Callable[[], asyncio.AbstractEventLoop | None]
    ) -> None:
        self._tell = tell
        self._loop = loop
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[socket.socket]] = {}
        self._is_closed = False
        self.state: State = open_state(url, self._open)
        self.routes: list[Route] = [
            on_descriptors(frames.StateOpened, self._on_opened),
            on(frames.StateRefused, self._on_refused),
        ]

    async def _open(self) -> socket.socket:
        """Opens a channel. Any loop of this process may ask, while another one hears the primary."""
        loop = self._loop()
        if loop is None:
            raise ClusterError(
                "the state can't be reached: no event loop of this worker's main thread hears the primary just now"
            )
        if loop is asyncio.get_running_loop():
            return await self._ask()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._ask(), loop))

    async def _ask(self) -> socket.socket:
        if self._is_closed:
            raise ChannelClosedError("the primary is gone, and the state with it")
        number = next(self._numbers)
        asked: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        try:
            self._tell(frames.OpenState(number))
            return await asked
        except asyncio.CancelledError:
            if asked.done() and not asked.cancelled() and asked.exception() is None:
                asked.result().close()  # it came in the same turn of the loop
            raise
        finally:
            del self._asked[number]

    def _on_opened(self, frame: frames.StateOpened, descriptors: Descriptors) -> None:
        asked = self._asked.get(frame.number)
        if asked is None or asked.done():
            return
        fds = descriptors.take()
        if fds:
            asked.set_result(socket.socket(fileno=fds[0]))
        else:
            asked.set_exception(ClusterError("the state can't be reached: no descriptor was left for its channel"))

    def _on_refused(self, frame: frames.StateRefused) -> None:
        asked = self._asked.get(frame.number)
        if asked is not None and not asked.done():
            asked.set_exception(BackplaneError(frame.text))

    def close(self) -> None:
        """The primary is gone."""
        self._is_closed = True
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(ChannelClosedError("the primary is gone, and the state with it"))

    def abandon(self) -> None:
        """Closes the copies in a forked child of this process."""
        self.state._abandon()
