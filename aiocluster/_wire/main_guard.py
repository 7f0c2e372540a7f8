"""Keeps workers from starting clusters by accident.

A worker imports or runs code that the primary's process has run, and this code may start a cluster: a main script
without its guard, or a script as a target that does not ask `is_primary`. Then each worker would start workers, without
end. So a worker may not start a cluster while its target is being imported, nor one whose workers would run what it
runs itself. multiprocessing protects main scripts in the same way.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from .frames import AsgiTarget, FunctionTarget, MainTarget, ModuleTarget, ScriptTarget, TargetName

_GUARD = 'if __name__ == "__main__":\n    asyncio.run(main())'


class NestedClusterError(RuntimeError):
    """A worker has tried to start more workers like itself."""


@dataclass(slots=True)
class _Own:
    """What this process runs, if it is a worker or a fork server."""

    target: TargetName | None = None
    is_loaded: bool = False


_own = _Own()


def loads(target: TargetName) -> None:
    """This process now imports this target, as a worker or a fork server."""
    _own.target, _own.is_loaded = target, False


def runs() -> None:
    """The target has been imported, and now runs."""
    _own.is_loaded = True


def forget() -> None:
    """This process is no worker: it was forked from one."""
    _own.target = None


def check_is_loaded() -> None:
    """Checks that this process may start workers now.

    Raises:
        NestedClusterError: It is still importing its own target. The text says what to do.
    """
    own = _own.target
    if own is not None and not _own.is_loaded:
        raise NestedClusterError(
            f"a Cluster was started while a worker imported its target, {_described(own)}: each worker would start "
            "workers. In the main script, as in every module that workers import, the start of the cluster must stand "
            f"behind the guard:\n\n{_indented(_GUARD)}"
        )


def check(target: TargetName) -> None:
    """Checks that this process may start workers with this target, now.

    Raises:
        NestedClusterError: It is a worker, and they would do the same again. The text says what to do.
    """
    check_is_loaded()
    own = _own.target
    if own is not None and _runs_again(own, target):
        raise NestedClusterError(
            f"a Cluster was started in a worker that runs {_described(own)} itself: its workers would do the same, "
            "without end. A script that is a target must ask is_primary() before it starts a cluster; one that gives a "
            f"function as the target starts it behind the guard, and is not a target itself:\n\n{_indented(_GUARD)}"
        )


def _runs_again(own: TargetName, target: TargetName) -> bool:
    """Whether a worker with ``target`` would run the same as one with ``own``."""
    own, target = _imported(own), _imported(target)
    if isinstance(own, FunctionTarget):
        return isinstance(target, FunctionTarget) and (own.module, own.name) == (target.module, target.name)
    path = getattr(sys.modules.get("__main__"), "__file__", None)  # another name for the module that runs
    program = _program(target)
    return program is not None and program in (_program(own), path and os.path.abspath(path))


def _imported(target: TargetName) -> TargetName:
    return target.app if isinstance(target, AsgiTarget) else target


def _program(target: TargetName | None) -> str | None:
    """Returns the path or the module that runs as a main script; of a function, the main script it is in, if any."""
    match target:
        case FunctionTarget(main=main):
            return _program(main)
        case AsgiTarget(app=app):
            return _program(app)
        case ScriptTarget(path=path):
            return path
        case ModuleTarget(module=module):
            return module
        case MainTarget(module=module, path=path):
            return path if module is None else module
        case None:
            return None


def _described(target: TargetName) -> str:
    target = _imported(target)
    if isinstance(target, FunctionTarget):
        return f"{_program(target) or target.module}:{target.name}"
    return str(_program(target))


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
