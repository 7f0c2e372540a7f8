"""Reload when files change, for development: with the extra ``watch`` (watchfiles) only."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Sequence

logger = logging.getLogger("aiocluster.cluster")

Paths = Sequence[str | os.PathLike[str]]


async def changes(paths: Paths) -> AsyncIterator[list[str]]:
    """The Python files below these paths that have changed, each time some have."""
    from watchfiles import PythonFilter, awatch

    async for changed in awatch(*[os.fspath(path) for path in paths], watch_filter=PythonFilter()):
        yield sorted({path for _, path in changed})
