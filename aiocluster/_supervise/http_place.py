"""`HttpPlace`: the pages that a setting asks for, served where that setting says, also when it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from .._bind import parse_bind
from ..address import Address
from ..errors import StartupError
from .http_answer import AnyPage
from .http_server import HttpServer

logger = logging.getLogger("aiocluster.cluster")


class HttpPlace:
    """Serves pages where a setting says, from `begin` to `end`.

    Args:
        setting: The setting's name.
        pages: The pages by path.
    """

    def __init__(self, setting: str, pages: Mapping[str, AnyPage]) -> None:
        self._setting = setting
        self._pages = pages
        self._server: HttpServer | None = None
        self._where: str | None = None  # as the setting says it
        self._one_move = asyncio.Lock()
        self._moves: set[asyncio.Task[None]] = set()
        self._is_on = False

    @property
    def address(self) -> Address | None:
        """Where it answers; None: nowhere."""
        return None if self._server is None else self._server.address

    async def begin(self, where: str | None) -> None:
        """Begins to answer there; None: nowhere. The caller must call `end` later, also if this fails.

        Raises:
            StartupError: It can't listen there.
        """
        await self.move(where)
        self._is_on = True

    def settings_changed(self, where: str | None) -> None:
        """Answers where the setting says now. If it can't, it stays where it is, and the log says so."""
        if self._is_on and where != self._where:
            move = asyncio.get_running_loop().create_task(self._follow(where))
            self._moves.add(move)
            move.add_done_callback(self._moves.discard)

    async def _follow(self, where: str | None) -> None:
        try:
            await self.move(where)
        except StartupError as error:
            logger.error("%s; it is answered at %s as before", error, self._where or "no address")

    async def move(self, where: str | None) -> None:
        """Answers there, and then no longer where it did before.

        Raises:
            StartupError: It can't listen there. It answers where it did before.
        """
        async with self._one_move:
            if where == self._where:
                return
            new: HttpServer | None = None
            if where is not None:
                new = HttpServer(self._setting, parse_bind(self._setting, where, 0), self._pages)
                try:
                    await new.open()
                except BaseException:
                    await new.close()
                    raise
            (old, self._server), self._where = (self._server, new), where
            if old is not None:
                await old.close()

    async def end(self) -> None:
        """Answers no more."""
        self._is_on = False
        for move in self._moves:
            move.cancel()
        if self._moves:
            await asyncio.wait(self._moves)
        if self._server is not None:
            await self._server.close()
