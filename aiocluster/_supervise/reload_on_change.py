"""Reload when files change, for development: with the extra ``watch`` (watchfiles) only."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec

logger = logging.getLogger("aiocluster.cluster")

Paths = Sequence[str | os.PathLike[str]]


def check(paths: Paths) -> None:
    """Raises ValueError unless these can be watched."""
    if isinstance(paths, (str, bytes)):
        raise ValueError(f"reload_on_change must be a sequence of paths, not {paths!r}")
    if paths and find_spec("watchfiles") is None:
        raise ValueError("reload_on_change needs watchfiles, which is not installed: pip install aiocluster[watch]")
    for path in paths:
        if not os.path.exists(path):
            raise ValueError(f"reload_on_change: there is no {os.fspath(path)}")


async def changes(paths: Paths) -> AsyncIterator[list[str]]:
    """The Python files below these paths that have changed, each time some have."""
    from watchfiles import PythonFilter, awatch

    async for changed in awatch(*[os.fspath(path) for path in paths], watch_filter=PythonFilter()):
        yield sorted({path for _, path in changed})
