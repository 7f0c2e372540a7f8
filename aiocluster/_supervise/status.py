"""`Status`: how a cluster is, for those outside: over HTTP (the setting ``health``), and for systemd."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from http import HTTPStatus

from .._primary.primary import Primary
from ..address import Address
from .http_place import HttpPlace
from .reconcile import Reconciler
from .service import Service


class Status:
    """Tells others how a cluster is, from `begin` to `end`.

    Args:
        primary: The cluster's. Its settings say where to answer over HTTP, and whether to be a service of systemd.
        reconciler: The cluster's.

    Attributes:
        place: Where it answers over HTTP.
    """

    def __init__(self, primary: Primary, reconciler: Reconciler) -> None:
        self._primary = primary
        self._reconciler = reconciler
        self._service = Service() if primary.settings.systemd else None
        self.place: HttpPlace = HttpPlace("health", {"/live": self._live, "/ready": self._ready})
        self._failed_reload = ""

    @property
    def address(self) -> Address | None:
        """Where it answers over HTTP; None: nowhere."""
        return self.place.address

    async def begin(self) -> None:
        """Begins to answer. The caller must call `end` later, also if this fails.

        Raises:
            StartupError: It can't listen.
        """
        await self.place.begin(self._primary.settings.health)
        if self._service is not None:
            await self._service.begin(self._primary)
        self._reconciler.looked = self._looked

    async def end(self) -> None:
        """Answers no more."""
        try:
            if self._service is not None:
                self._service.end()
        finally:
            await self.place.end()

    def settings_changed(self) -> None:
        """Answers over HTTP where the settings say now. If it can't, it stays where it is, and the log says so."""
        self.place.settings_changed(self._primary.settings.health)

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
