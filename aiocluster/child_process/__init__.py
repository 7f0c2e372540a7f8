"""Child processes that are not cluster workers, as in Node's ``child_process`` module.

::

    exec ─────── a shell ─┐
    exec_file ────────────┴▶ run to the end, output returned      Completed
    spawn ────────────────┐
    fork ─ a script, ipc ─┴▶ runs beside this process             ChildProcess ◀── channel ──▶ parent()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import exports as _exports

if TYPE_CHECKING:
    # isort: off
    from ._child import ChildProcess as ChildProcess
    from ._exec import Completed as Completed, exec as exec, exec_file as exec_file
    from ._parent import Parent as Parent, parent as parent
    from ._spawn import fork as fork, spawn as spawn
else:
    # Imported on first use: a child that only needs `parent` starts faster without the rest.
    __getattr__, __dir__, __all__ = _exports(
        __name__,
        {
            "._child": "ChildProcess",
            "._exec": "Completed exec exec_file",
            "._parent": "Parent parent",
            "._spawn": "fork spawn",
        },
    )
