"""Child processes that are no cluster workers, as Node's ``child_process`` module has them.

::

    exec ─────── a shell ─┐
    exec_file ────────────┴▶ run to the end, output returned      Completed
    spawn ────────────────┐
    fork ─ a script, ipc ─┴▶ runs beside this process             ChildProcess ◀── channel ──▶ parent()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adopt import Parent, parent
    from .child import ChildProcess
    from .run import Completed, exec, exec_file
    from .start import fork, spawn

# Imported when they are first used: a child that asks for its parent starts faster without the parent's half.
_HOMES = {
    "ChildProcess": "child",
    "Completed": "run",
    "Parent": "adopt",
    "exec": "run",
    "exec_file": "run",
    "fork": "start",
    "parent": "adopt",
    "spawn": "start",
}

__all__ = ["ChildProcess", "Completed", "Parent", "exec", "exec_file", "fork", "parent", "spawn"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
