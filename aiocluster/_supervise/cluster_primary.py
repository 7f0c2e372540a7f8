"""`ClusterPrimary`: the `Primary` of a `Cluster`, whose settings are the cluster's, too."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from .._primary.primary import Primary
from .._primary.state import StateProcess
from .._state.url import MEMORY, is_hidden
from ..errors import BackplaneStartupError, ClusterError
from ..settings import ClusterSetupSettings, Settings
from .given import Given, check_can_be_changed, check_weights

if TYPE_CHECKING:
    from .._state.state import State


class ClusterPrimary(Primary):
    """The `Primary` of a `Cluster`. `Primary.settings` has all settings of the cluster, and each is read there at use.

    Args:
        given: The settings as they were given.
        most: The highest number of workers that is wanted at first.

    Attributes:
        settings_changed: Called when they have changed. It says that to those who do not look by themselves.
    """

    def __init__(self, given: Given, most: int) -> None:
        settings = given.completed()
        check_weights(settings, most)
        self._begin(settings)
        self._state_url = url = settings.state or MEMORY
        self._state: State | None = None
        if is_hidden(url):
            self._shared.state = StateProcess(
                url,
                lambda: self.settings,
                self._hub,
                self._relays,
                self._shared.folders,
                lambda: self._cluster_name,
            )
        self.settings_changed: Callable[[], None] = lambda: None
        self._given = given

    @property
    def state(self) -> State:
        """The state of the cluster; see `Cluster.state`."""
        if self._state is None:
            from .._state.open import open_state  # most clusters start sooner without

            self._state = open_state(self._state_url or MEMORY, self._open_state)
        return self._state

    async def _open_state(self) -> socket.socket:
        """Opens a channel of this process to the one that keeps the state."""
        if not self._is_open or self._shared.state is None:
            raise ClusterError("the state can be used only inside `async with Cluster(…)`")
        return await self._shared.state.open()

    async def _begin_state(self) -> None:
        """Raises `BackplaneStartupError` if the state can't be had. One in memory can, and is begun when it is used."""
        if self._state_url == MEMORY:
            return
        limit = asyncio.timeout(self.settings.start_timeout)
        try:
            async with limit:
                await self.state._reach()
        except TimeoutError as error:
            if not limit.expired():
                raise BackplaneStartupError(f"the state can't be had: {error}") from error
            seconds = f"{self.settings.start_timeout:g} seconds (start_timeout)"
            raise BackplaneStartupError(f"the state can't be had: it did not answer within {seconds}") from None
        except (ClusterError, OSError) as error:
            raise BackplaneStartupError(f"the state can't be had: {error}") from error

    async def _end_state(self) -> None:
        if self._state is not None:
            await self._state._close()
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
