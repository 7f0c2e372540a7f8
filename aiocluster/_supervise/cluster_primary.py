"""`ClusterPrimary`: the `Primary` of a `Cluster`, whose settings are the cluster's, too."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Unpack

from .._primary.primary import Primary
from .._primary.state import StateProcess
from .._state.open import open_state
from .._state.state import State
from .._state.url import MEMORY, is_hidden
from ..errors import ClusterError
from ..settings import ClusterSetupSettings, Settings
from .given import Given, check_can_be_changed, check_weights


class ClusterPrimary(Primary):
    """The `Primary` of a `Cluster`. `Primary.settings` has all settings of the cluster, and each is read there at use.

    Args:
        given: The settings as they were given.
        most: The highest number of workers that is wanted at first.

    Attributes:
        state: The state of the cluster.
        settings_changed: Called when they have changed. It says that to those who do not look by themselves.
    """

    def __init__(self, given: Given, most: int) -> None:
        settings = given.completed()
        check_weights(settings, most)
        self._begin(settings)
        self._state_url = url = settings.state or MEMORY
        if is_hidden(url):
            self._shared.state = StateProcess(
                url,
                lambda: self.settings,
                self._hub,
                self._relays,
                self._shared.folders,
                lambda: self._cluster_name,
            )
        self.state: State = open_state(url, self._open_state)
        self.settings_changed: Callable[[], None] = lambda: None
        self._given = given

    async def _open_state(self) -> socket.socket:
        """Opens a channel of this process to the one that keeps the state."""
        if not self._is_open or self._shared.state is None:
            raise ClusterError("the state can be used only inside `async with Cluster(…)`")
        return await self._shared.state.open()

    async def _end_state(self) -> None:
        await self.state._close()
        if self._shared.state is not None:
            await self._shared.state.end()

    def setup(self, **settings: Unpack[ClusterSetupSettings]) -> None:
        """Changes these settings and keeps the others; see `Cluster.setup`."""
        self._setup(dict(settings), self._slots())

    def _setup(self, changes: dict[str, Any], most: int) -> None:
        """Like `setup`, for so many workers at most."""
        check_can_be_changed(changes)
        given = self._given.changed(changes)
        completed: Settings = given.completed()
        check_weights(completed, most)
        self._change(completed, is_new_env="env" in changes)
        self._given = given
        self.settings_changed()
