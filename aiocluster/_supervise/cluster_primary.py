"""`ClusterPrimary`: the `Primary` of a `Cluster`, whose settings are the cluster's, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from .._primary.primary import Primary
from ..settings import ClusterSetupSettings, Settings
from .given import Given, check_can_be_changed, check_weights


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
        self.settings_changed: Callable[[], None] = lambda: None
        self._given = given

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
