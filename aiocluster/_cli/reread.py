"""A reload reads again what the command line names: files of variables, and options in TOML."""

from __future__ import annotations

import logging
from typing import Any

import click

from .._supervise.cluster import Cluster
from ..errors import ClusterError, ReloadError
from ..integrations.asgi import AsgiApp
from ..settings import _NAMES, Settings
from .request import RunRequest, parse_run
from .servers import IN_A_WORKER, server_name

logger = logging.getLogger("aiocluster.cluster")


class RereadingCluster(Cluster):
    """A cluster whose reloads read the command line, its variables and its files again.

    Args:
        request: What was asked for at the start.
    """

    def __init__(self, request: RunRequest) -> None:
        super().__init__(_runs(request), **request.settings)
        self._request = request

    async def reload(self) -> None:
        """Reads again, and then replaces all workers; see `Cluster.reload`.

        Raises:
            ReloadError: What was read is wrong, and nothing has been changed; or a new worker failed to start.
        """
        await self._reread()
        await super().reload()

    async def _reread(self) -> None:
        before = _values(self._request)
        try:
            request = parse_run(self._request.words)
            after = _values(request)
            changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
            for name in sorted(changed.difference(_NAMES["Primary"], ["workers"])):
                logger.warning("%s has changed: that counts from the next start on", name)
            if setup := changed.intersection(_NAMES["Primary"]):
                defaults = Settings()
                self.primary.setup(**{name: after.get(name, getattr(defaults, name)) for name in setup})
        except click.UsageError as error:
            raise ReloadError(f"nothing is reloaded: {error.format_message()}") from None
        except (ClusterError, OSError, TypeError, ValueError) as error:
            raise ReloadError(f"nothing is reloaded: {error}") from error
        self._request = request
        if "workers" in changed and isinstance(workers := after.get("workers"), (int, tuple)):
            await self.scale(workers)


def _values(request: RunRequest) -> dict[str, Any]:
    return {"target": _runs(request), **request.settings}


def _runs(request: RunRequest) -> str | AsgiApp:
    """Returns what workers run."""
    target = request.target
    return IN_A_WORKER.get(server_name(target), target) if isinstance(target, str) else target
