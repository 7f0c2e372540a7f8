"""Watches files for the setting ``reload_on_change``. It needs the extra ``watch`` (watchfiles)."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Sequence

logger = logging.getLogger("aiocluster.cluster")

Paths = Sequence[str | os.PathLike[str]]


async def changes(paths: Paths) -> AsyncIterator[list[str]]:
    """Yields the changed Python files below these paths, each time some have changed."""
    from watchfiles import PythonFilter, awatch

    async for changed in awatch(*[os.fspath(path) for path in paths], watch_filter=PythonFilter()):
        yield sorted({path for _, path in changed})
