"""Child processes that are no cluster workers, as Node's ``child_process`` module has them.

::

    exec ─────── a shell ─┐
    exec_file ────────────┴▶ run to the end, output returned      Completed
    spawn ────────────────┐
    fork ─ a script, ipc ─┴▶ runs beside this process             ChildProcess ◀── channel ──▶ parent()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attributes, listing

if TYPE_CHECKING:
    from ._child import ChildProcess
    from ._exec import Completed, exec, exec_file
    from ._parent import Parent, parent
    from ._spawn import fork, spawn

# Imported when they are first used: a child that asks for its parent starts faster without the parent's half.
_HOMES = {
    "ChildProcess": "_child",
    "Completed": "_exec",
    "Parent": "_parent",
    "exec": "_exec",
    "exec_file": "_exec",
    "fork": "_spawn",
    "parent": "_parent",
    "spawn": "_spawn",
}

__all__ = ["ChildProcess", "Completed", "Parent", "exec", "exec_file", "fork", "parent", "spawn"]

__getattr__ = attributes(__name__, _HOMES)
__dir__ = listing(__name__, _HOMES)
