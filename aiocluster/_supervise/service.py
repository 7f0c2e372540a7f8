"""`Service`: a cluster as a service of systemd. It takes the sockets that systemd passes, and tells it how it is.

=====================  =============================================================================================
what happens           what systemd is told
=====================  =============================================================================================
up for the first time  ``READY=1 MAINPID=…``
a reload begins        ``RELOADING=1 MONOTONIC_USEC=…``, for each that is asked for (``Type=notify-reload``)
the last one is over   ``READY=1``
a stop begins          ``STOPPING=1``, and ``READY=1`` no more
the status changes     ``STATUS=…``
half of WATCHDOG_USEC  ``WATCHDOG=1``: by a timer of the loop, so not while the loop is blocked
=====================  =============================================================================================
"""

from __future__ import annotations

import asyncio
import logging
import os
import time

from .._primary.primary import Primary
from ..integrations.systemd import NotifySocket, inherited_descriptors, watchdog_interval

logger = logging.getLogger("aiocluster.systemd")


class Service:
    """What systemd is told of a cluster, from `begin` to `end`."""

    def __init__(self) -> None:
        self._socket: NotifySocket | None = None
        self._interval = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_up = self._is_stopping = False
        self._reloads = 0
        self._status = ""

    async def begin(self, primary: Primary) -> None:
        """Opens the sockets that systemd has passed, and begins to notify it. The caller must call `end` later."""
        for fd in inherited_descriptors():
            try:
                logger.info("%s comes from systemd", await primary.listen_fd(fd))
            except OSError as error:
                logger.warning("descriptor %d from systemd is no listening socket: %s", fd, error.strerror)
        self._socket = NotifySocket.of_environment()
        if self._socket is not None and (seconds := watchdog_interval()) is not None:
            self._interval = seconds / 2
            self._beat()

    def end(self) -> None:
        """Reverts `begin`. What systemd has passed stays open: it is this process's."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._beat)
        if self._socket is not None and not self._socket.is_behind:
            self._socket.send(WATCHDOG=1)

    # ---- what happens

    def up(self) -> None:
        """The cluster is up."""
        if not self._is_up:
            self._is_up = True
            self._tell_ready(MAINPID=os.getpid())

    def status(self, text: str) -> None:
        """What the cluster does has changed, in one line."""
        if self._socket is not None and text != self._status:
            self._status = text
            self._socket.send(STATUS=text)

    def reloading(self) -> None:
        """A reload has been asked for. The caller must call `reloaded` later."""
        self._reloads += 1
        if self._socket is not None and self._is_up and not self._is_stopping:
            self._socket.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def reloaded(self) -> None:
        """A reload is over, for better or worse."""
        self._reloads -= 1
        if not self._reloads and self._is_up:
            self._tell_ready()

    def _tell_ready(self, **more: object) -> None:
        if self._socket is not None and not self._is_stopping:
            self._socket.send(READY=1, **more)

    def stopping(self) -> None:
        """The cluster is being stopped."""
        if not self._is_stopping:
            self._is_stopping = True
            if self._socket is not None:
                self._socket.send(STOPPING=1)
