"""How workers are started: one frozen dataclass, validated once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .scheduling._registry import check

Target = Callable[..., Any] | str | Path | None

LOOPS = ("auto", "asyncio", "uvloop")
START_METHODS = ("spawn", "template")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `Primary.fork` needs to know.

    Attributes:
        target: What a worker runs; see the table of targets in the documentation. None: the main script again.
        args: For a script or a module ``sys.argv[1:]``; a function that takes arguments is called with them as well.
        env: Added to the primary's own environment.
        cwd: The working directory; None: the primary's.
        executable: The interpreter; None: the primary's own.
        exec_args: Arguments of the interpreter, such as ``("-X", "dev")``.
        silent: Whether ``stdout`` and ``stderr`` are streams of the `WorkerProcess` instead of the primary's own.
        uid: The user id that workers run as (needs the right to change it).
        gid: The group id that workers run as.
        loop: ``"auto"`` (uvloop where it is installed), ``"uvloop"`` or ``"asyncio"``: what async targets run on.
        start_method: ``"spawn"``: a fresh interpreter for each worker; ``"template"``: workers are forked from a warm
            one, which has imported ``preload`` and the target's module, and share its memory.
        preload: Modules that are imported first.
        scheduling: The policy of ports for which no other is given.
        graceful_timeout: Seconds a worker that leaves, or has failed, may take to finish what it has.
        heartbeat: Seconds between two reports of a worker's event loop.

    Raises:
        ValueError: An argument is out of its range; the text names it.
        TypeError: An argument is of the wrong type; the text names it.
    """

    target: Target = None
    args: Sequence[str] = ()
    env: Mapping[str, str] | None = None
    cwd: str | os.PathLike[str] | None = None
    executable: str | os.PathLike[str] | None = None
    exec_args: Sequence[str] = ()
    silent: bool = False
    uid: int | None = None
    gid: int | None = None
    loop: str = "auto"
    start_method: str = "spawn"
    preload: Sequence[str] = ()
    scheduling: Any = field(default_factory=lambda: os.environ.get("AIOCLUSTER_SCHEDULING") or "round_robin")

    graceful_timeout: float = 30.0
    heartbeat: float = 1.0

    def __post_init__(self) -> None:
        for name in ("args", "exec_args", "preload"):
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise TypeError(f"{name} must be a sequence of str, not {value!r}")
            object.__setattr__(self, name, tuple(value))
        if self.env is not None:
            if not isinstance(self.env, Mapping):
                raise TypeError(f"env must be a mapping of str to str, not {self.env!r}")
            object.__setattr__(self, "env", MappingProxyType(dict(self.env)))
        for name in ("uid", "gid"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 0):
                raise ValueError(f"{name} must be a number from 0 on, not {value!r}")
        for name in ("graceful_timeout", "heartbeat"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                raise TypeError(f"{name} must be a number of seconds, not {value!r}")
            if value < 0 or (name == "heartbeat" and value == 0):
                raise ValueError(f"{name} must be a number of seconds above 0, not {value!r}")
        _one_of("loop", self.loop, LOOPS)
        _one_of("start_method", self.start_method, START_METHODS)
        if self.loop == "uvloop":
            _require_uvloop()
        check(self.scheduling)

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with some of them replaced.

        Raises:
            TypeError: There is no setting of that name.
        """
        names = {one.name for one in fields(self)}
        for name in changes:
            if name not in names:
                raise TypeError(f"no setting is called {name!r}; there are {', '.join(sorted(names))}")
        return replace(self, **changes)


def _one_of(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def _require_uvloop() -> None:
    from importlib.util import find_spec

    if "uvloop" not in sys.modules and find_spec("uvloop") is None:
        raise ValueError("loop='uvloop' needs uvloop, which is not installed: pip install uvloop")
