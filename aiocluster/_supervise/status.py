"""`Status`: how a cluster is, for those outside: over HTTP (the setting ``health``), and for systemd."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from http import HTTPStatus

from .._bind import parse_bind
from .._primary.primary import Primary
from ..address import Address
from ..errors import StartupError
from .http_server import HttpServer
from .reconcile import Reconciler
from .service import Service

logger = logging.getLogger("aiocluster.cluster")


class Status:
    """Tells others how a cluster is, from `begin` to `end`.

    Args:
        primary: The cluster's. Its settings say where to answer over HTTP, and whether to be a service of systemd.
        reconciler: The cluster's.
    """

    def __init__(self, primary: Primary, reconciler: Reconciler) -> None:
        self._primary = primary
        self._reconciler = reconciler
        self._service = Service() if primary.settings.systemd else None
        self._http: HttpServer | None = None
        self._health: str | None = None  # where it answers, as the setting says it
        self._one_move = asyncio.Lock()
        self._moves: set[asyncio.Task[None]] = set()
        self._is_on = False
        self._failed_reload = ""

    @property
    def address(self) -> Address | None:
        """Where it answers over HTTP; None: nowhere."""
        return None if self._http is None else self._http.address

    async def begin(self) -> None:
        """Begins to answer. The caller must call `end` later, also if this fails.

        Raises:
            StartupError: It can't listen.
        """
        await self.move(self._primary.settings.health)
        if self._service is not None:
            await self._service.begin(self._primary)
        self._is_on = True
        self._reconciler.looked = self._looked

    async def end(self) -> None:
        """Answers no more."""
        self._is_on = False
        for move in self._moves:
            move.cancel()
        if self._moves:
            await asyncio.wait(self._moves)
        try:
            if self._service is not None:
                self._service.end()
        finally:
            if self._http is not None:
                await self._http.close()

    # ---- where

    def settings_changed(self) -> None:
        """Answers over HTTP where the settings say now. If it can't, it stays where it is, and the log says so."""
        if self._is_on and self._primary.settings.health != self._health:
            move = asyncio.get_running_loop().create_task(self._follow())
            self._moves.add(move)
            move.add_done_callback(self._moves.discard)

    async def _follow(self) -> None:
        try:
            await self.move(self._primary.settings.health)
        except StartupError as error:
            logger.error("%s; it is answered at %s as before", error, self._health or "no address")

    async def move(self, health: str | None) -> None:
        """Answers over HTTP there, and then no longer where it did before.

        Args:
            health: An address, as the setting has it; None: nowhere.

        Raises:
            StartupError: It can't listen there. It answers where it did before.
        """
        async with self._one_move:
            if health == self._health:
                return
            new: HttpServer | None = None
            if health is not None:
                where = parse_bind("health", health, 0)
                new = HttpServer("health", where, {"/live": self._live, "/ready": self._ready})
                try:
                    await new.open()
                except BaseException:
                    await new.close()
                    raise
            (old, self._http), self._health = (self._http, new), health
            if old is not None:
                await old.close()

    # ---- pages

    def _live(self) -> tuple[HTTPStatus, str]:
        return HTTPStatus.OK, "alive"  # the loop answers

    def _ready(self) -> tuple[HTTPStatus, str]:
        self._reconciler.look_whether_ready(time.monotonic())
        is_ready, text = self._now()
        return HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, text

    def _now(self) -> tuple[bool, str]:
        """Returns whether the cluster is ready, and how it is, in a few words."""
        reconciler, readiness = self._reconciler, self._reconciler.readiness
        if reconciler.is_stopping:
            return False, "stopping"
        if reconciler.given_up is not None:
            return False, "given up: workers ended too often, or can't start"
        if reconciler.over.is_set():
            return False, "no worker is left"
        if not readiness.wanted:
            return False, "starting"
        if not readiness.is_up:
            return False, f"starting: {readiness.wanted - readiness.missing} of {readiness.wanted} workers serve"
        if not readiness.serving:
            return False, "no worker serves just now"
        return True, f"ready: {readiness.serving} {'worker serves' if readiness.serving == 1 else 'workers serve'}"

    # ---- what happens

    def _looked(self) -> None:
        if self._service is None:
            return
        _, text = self._now()
        self._service.status(self._failed_reload or text)
        if self._reconciler.readiness.is_up:
            self._service.up()

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """While a reload is under way."""
        if self._service is None:
            yield
            return
        self._service.reloading()
        try:
            yield
        except Exception as error:
            self._failed_reload = str(error).partition("\n")[0]
            raise
        else:
            self._failed_reload = ""
        finally:
            self._looked()
            self._service.reloaded()

    def stopping(self) -> None:
        """The cluster is being stopped."""
        self._failed_reload = ""
        if self._service is not None:
            self._service.status("stopping")
            self._service.stopping()
