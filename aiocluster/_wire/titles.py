"""How targets and clusters are called in process titles. Pure."""

from __future__ import annotations

import os.path

from .frames import AsgiTarget, FunctionTarget, MainTarget, ModuleTarget, ScriptTarget, TargetName


def title_of(target: TargetName) -> str:
    """Returns what a worker runs, such as ``shop.web:app`` or ``app.py``."""
    match target:
        case AsgiTarget(app=app):
            return title_of(app)
        case FunctionTarget(module=module, name=name, main=None):
            return f"{module}:{name}"
        case FunctionTarget(name=name, main=MainTarget() as main):
            return f"{title_of(main)}:{name}"
        case ScriptTarget(path=path):
            return os.path.basename(path)
        case ModuleTarget(module=module):
            return module
        case MainTarget(module=str(module)):
            return module
        case MainTarget(path=path):
            return os.path.basename(path or "")
    raise AssertionError(target)


def named_after(target: TargetName) -> str:
    """Returns the name of a cluster without one: of ``shop.web:app`` it is ``shop.web``, of ``app.py`` ``app``."""
    return title_of(target).partition(":")[0].removesuffix(".py")
