"""A reload reads again what the command line names: files of variables, and options in TOML.

What has been read is kept if the new workers can start with it. If they can't, all is as it was before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import click

from .._supervise.bounds import Bounds
from .._supervise.cluster import Cluster
from .._supervise.cpus import available_cpus
from ..errors import ClusterError, ReloadError
from ..integrations.asgi import AsgiApp
from ..settings import AT_THE_START, Settings
from .request import RunRequest, parse_run
from .servers import IN_A_WORKER, server_name

logger = logging.getLogger("aiocluster.cluster")

_OF_THE_COMMAND = ("app_dir", "log_format", "log_level", "pid_file")
"""What a `RunRequest` has beside settings, all of it used at the start alone."""

_LATER: Mapping[str, str] = {
    **dict.fromkeys([*AT_THE_START - {"workers"}, *_OF_THE_COMMAND], "from the next start on"),
    "scheduling": "for ports that are opened from now on",
}
"""What does not count for the new workers: when it does."""

_DEFAULTS: Mapping[str, Any] = {one.name: one.default for one in fields(Settings)}


class RereadingCluster(Cluster):
    """A cluster whose reloads read the command line, its variables and its files again.

    Args:
        request: What was asked for at the start.
    """

    def __init__(self, request: RunRequest) -> None:
        super().__init__(_runs(request), **request.settings)
        self._request = request  # the one in use
        self._proven = request  # the last one with which workers could start

    async def reload(self) -> None:
        """Reads again, replaces all workers, and scales if the number has changed; see `Cluster.reload`.

        Raises:
            ReloadError: What was read is wrong, or a new worker failed to start. All is as before.
            StartupError: All workers have been replaced, but one that was to be added failed to start.
        """
        before = self._request
        try:
            request = parse_run(before.words)
            await self._use(request)
        except click.UsageError as error:
            raise ReloadError(f"nothing is reloaded: {error.format_message()}") from None
        except (ClusterError, OSError, TypeError, ValueError) as error:
            raise ReloadError(f"nothing is reloaded: {error}") from error
        for name in sorted(_differences(before, request).intersection(_LATER)):
            logger.warning("%s has changed: that counts %s", name.replace("_", "-"), _LATER[name])
        try:
            await super().reload()
        except ReloadError:
            await self._give_up(request)
            raise
        if (bounds := _bounds(request)) != _bounds(self._proven):
            await self.scale(bounds)
        self._proven = request

    async def _give_up(self, request: RunRequest) -> None:
        """Returns to what workers could start with, unless another reload has read again meanwhile."""
        if self._request is not request:
            return
        try:
            await self._use(self._proven)
        except (ClusterError, OSError, TypeError, ValueError) as error:
            logger.error("workers that are started from now on have the new settings: %s", error)

    async def _use(self, request: RunRequest) -> None:
        """Has all go by this request, or raises and changes nothing."""
        after = _values(request)
        changed = _differences(self._request, request).difference(AT_THE_START, _OF_THE_COMMAND)
        if changed:
            try:
                for name in changed.intersection(self._places):
                    await self._places[name].move(after[name])
                most = _bounds(request) if _bounds(request) != _bounds(self._proven) else self._bounds
                self._primary._setup({name: after[name] for name in changed}, most.high)
            except BaseException:
                for name, place in self._places.items():
                    await place.move(getattr(self._primary.settings, name))
                raise
        self._request = request


def _values(request: RunRequest) -> dict[str, Any]:
    """Returns the value of each setting, and of what is the command's own."""
    own = {name: getattr(request, name) for name in _OF_THE_COMMAND}
    return {**_DEFAULTS, **request.settings, **own, "target": _runs(request)}


def _differences(before: RunRequest, after: RunRequest) -> set[str]:
    """Returns the names of what is not the same in both."""
    old, new = _values(before), _values(after)
    return {name for name in old if old[name] != new[name]}


def _bounds(request: RunRequest) -> Bounds:
    workers = request.settings.get("workers", "auto")
    return Bounds.of(available_cpus() if workers == "auto" else workers)


def _runs(request: RunRequest) -> str | AsgiApp:
    """Returns what workers run."""
    target = request.target
    return IN_A_WORKER.get(server_name(target), target) if isinstance(target, str) else target
