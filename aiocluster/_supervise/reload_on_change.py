"""`ReloadOnChange`: swaps the workers when files change. It needs the extra ``watch`` (watchfiles)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable
from importlib.util import cache_from_source

from .._primary.primary import Primary
from ..errors import ClusterError, ReloadError, StartupError
from .changed_files import ChangedFiles, in_words
from .reconcile import Reconciler

logger = logging.getLogger("aiocluster.cluster")

_STEP = 10
"""Milliseconds without a change after which a change is told: an editor writes a file in several steps.

A worker reads its first line of the application's code later than that, so an import of half a file is no danger.
"""
_LONGEST = 500
"""Milliseconds after which a change is told even if others keep coming. What is started by then is overtaken."""


class ReloadOnChange:
    """Watches the files of the setting ``reload_on_change``, if there are any, from `begin` to `end`.

    Args:
        primary: The cluster's. Its settings say which files.
        reconciler: Swaps the workers.
    """

    def __init__(self, primary: Primary, reconciler: Reconciler) -> None:
        self._primary = primary
        self._reconciler = reconciler
        self._task: asyncio.Task[None] | None = None
        self._asked_for: object = None
        self._files = ChangedFiles(())
        self._are_others = asyncio.Event()  # to be watched
        self._is_on = False

    def begin(self) -> None:
        """Begins to watch. What changes while the first workers start counts, too."""
        self._is_on = True
        self.settings_changed()

    def settings_changed(self) -> None:
        """Watches what the settings say now."""
        settings = self._primary.settings
        asked_for = settings.reload_on_change, settings.reload_include, settings.reload_exclude
        if not self._is_on or asked_for == self._asked_for:
            return
        self._asked_for, self._files = asked_for, ChangedFiles(*asked_for)
        self._are_others.set()
        if self._files.watched and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Lets no later change count."""
        self._is_on = False
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Ends the task, and the thread of watchfiles behind it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def wait_until_all_run(self) -> None:
        """Waits until every slot is filled: at once if all first workers could start, else after a change.

        Without files to watch it does not wait.

        Raises:
            StartupError: Some could not, and the files can't be watched.
        """
        if self._task is None or self._reconciler.is_filled.is_set():
            return
        if self._reconciler.has_gaps:
            logger.warning("waiting for a file to change")
        filled = asyncio.ensure_future(self._reconciler.is_filled.wait())
        try:
            await asyncio.wait([filled, self._task], return_when=asyncio.FIRST_COMPLETED)
            if not filled.done():
                raise StartupError("not all workers could start, and no file is watched whose change could help")
        finally:
            filled.cancel()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as reloads:
                async for changed in self._changes():
                    logger.info("changed: %s; reloading", in_words(changed, os.getcwd()))
                    _forget_bytecode(changed)
                    if not self._reconciler.reload_anew():
                        reloads.create_task(self._reload())
        except* OSError as errors:
            logger.error("reload_on_change: files are no longer watched: %s", errors.exceptions[0])

    async def _changes(self) -> AsyncIterator[list[str]]:
        """Yields the paths that have changed, each time some have, until there are none to watch."""
        while self._files.watched:
            self._are_others = asyncio.Event()
            async for changed in _changes(self._files, self._are_others):
                yield changed

    async def _reload(self) -> None:
        try:
            await self._reconciler.reload()
        except ReloadError as error:
            who = "the old workers stay" if self._reconciler.is_at_work else "nobody serves"
            logger.error("the changed code can't start, %s until the next change: %s", who, error.__cause__)
        except ClusterError:
            pass  # it is stopping
        else:
            logger.info("reloaded", extra={"is_event": True})


def _forget_bytecode(paths: Iterable[str]) -> None:
    """Removes the bytecode of these files.

    Python takes bytecode for current if its source has the same size and the same second of change: two edits within a
    second, such as of one digit, would leave the workers with the first one.
    """
    for path in paths:
        with contextlib.suppress(OSError, ValueError, NotImplementedError):  # there is none, or this Python has none
            os.unlink(cache_from_source(path))


async def _changes(files: ChangedFiles, stop: asyncio.Event) -> AsyncIterator[list[str]]:
    """Yields the paths that have changed, each time some have, until ``stop`` is set."""
    from watchfiles import awatch

    def counts(change: object, path: str) -> bool:
        return files.counts(path)

    watched: Callable[..., bool] = counts
    changes = awatch(*files.watched, watch_filter=watched, step=_STEP, debounce=_LONGEST, stop_event=stop)
    async for changed in changes:
        yield sorted({path for _, path in changed})
