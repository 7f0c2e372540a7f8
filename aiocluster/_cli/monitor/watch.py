"""`Watch`: a thread that looks at the clusters again and again, because each look waits for an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ..._control.clusters import known
from ...errors import ClusterError
from .rates import Description, measured


@dataclass(frozen=True, slots=True)
class Look:
    """What there was to see.

    Attributes:
        names: The clusters that run, and those that have run since the watch began.
        found: The one that is shown, as `rates.measured` has it. ``state`` is ``ended`` if nothing is known of it now.
    """

    names: list[str]
    found: Description


class Watch:
    """Looks at the clusters, until `stop`.

    Args:
        name: The cluster to show.
        interval: Seconds between looks.
        tell: Called with each look, in the thread.
    """

    def __init__(self, name: str, interval: float, tell: Callable[[Look], object]) -> None:
        self._name = name
        self._interval = interval
        self._tell = tell
        self._seen: dict[str, Description] = {}
        self._is_over = False
        self._soon = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aiocluster top", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def show(self, name: str) -> None:
        """Shows this cluster, from now on."""
        self._name = name
        self._soon.set()

    def look(self) -> None:
        """Looks again, now."""
        self._soon.set()

    def stop(self, seconds: float) -> None:
        """Ends. A look that waits for an answer has so many seconds."""
        self._is_over = True
        self._soon.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._is_over:
            self._soon.clear()
            look = self._look(self._name)
            if self._is_over:
                return
            self._tell(look)
            self._soon.wait(self._interval)

    def _look(self, name: str) -> Look:
        before = self._seen.get(name)
        try:
            now = self._described(name)
        except (ClusterError, OSError) as error:  # none of them is worth the end of the watch
            now = {**(before or _nothing(name)), "state": "silent", "error": str(error)}
        self._seen[name] = now
        return Look(sorted(self._seen), measured(before if before is not None and "age" in before else None, now))

    def _described(self, name: str) -> Description:
        clusters = known()
        for one in clusters.values():
            if one.is_alive:
                self._seen.setdefault(one.name, _nothing(one.name))
        if name in clusters:
            return clusters[name].describe()
        return _nothing(name)


def _nothing(name: str) -> Description:
    return {"name": name, "pid": None, "state": "ended", "target": None, "addresses": [], "workers": []}
