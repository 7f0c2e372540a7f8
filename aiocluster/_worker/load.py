"""Loads the target that the primary named, and returns it as a callable."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from .._wire import main_guard
from .._wire.frames import AsgiTarget, FunctionTarget, MainTarget, ModuleTarget, ScriptTarget, WorkerConfig
from ..errors import TargetError
from .asgi.load import app_of, recognized, warm
from .asgi.recognize import is_asgi


def preload(config: WorkerConfig) -> None:
    """Imports the modules of the setting ``preload``. What is imported sees the primary's ``sys.argv``.

    So it is in multiprocessing: a main script that reads its arguments when it is imported can do so again.
    """
    sys.argv = list(config.argv)
    target = _imported(config)
    if target is not None and target.in_cwd and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for module in config.preload:
        importlib.import_module(module)


def _imported(config: WorkerConfig) -> FunctionTarget | None:
    """Returns the function or the app that its target imports; None if it imports none."""
    target = config.target
    if isinstance(target, AsgiTarget):
        return target.app
    return target if isinstance(target, FunctionTarget) else None


class Loaded(NamedTuple):
    """A worker's target.

    Attributes:
        run: What runs it.
        is_app: Whether that serves an ASGI app.
    """

    run: Callable[[], Any]
    is_app: bool = False


def load(config: WorkerConfig) -> Loaded:
    """Loads this worker's target."""
    main_guard.loads(config.target)
    target = _load(config)
    main_guard.runs()
    return target


def _load(config: WorkerConfig) -> Loaded:
    target, args = config.target, config.args
    preload(config)
    if isinstance(target, AsgiTarget):
        if args:
            sys.argv[1:] = args
        return Loaded(app_of(find_function(target.app), target), is_app=True)
    if isinstance(target, FunctionTarget):
        function = find_function(target)
        if not args and (app := recognized(function, target, config.app_address)) is not None:
            return Loaded(app, is_app=True)
        if _takes(function, args):
            return Loaded(partial(function, *args))
        sys.argv[1:] = args
        return Loaded(function)
    if args or not isinstance(target, MainTarget):
        sys.argv[1:] = args
    import runpy

    if isinstance(target, ScriptTarget):
        path = target.path
        sys.argv[0] = path
        sys.path.insert(0, path if os.path.isdir(path) else os.path.dirname(os.path.realpath(path)))  # as Python does
        return Loaded(lambda: runpy.run_path(path, run_name="__main__"))
    if isinstance(target, ModuleTarget):
        module = target.module
        sys.path.insert(0, os.getcwd())
        return Loaded(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))
    main = target
    return Loaded(lambda: _run_main(main, "__main__"))


def _run_main(main: MainTarget, run_name: str) -> dict[str, Any]:
    import runpy

    if main.module is not None:
        return runpy.run_module(main.module, run_name=run_name, alter_sys=True)
    assert main.path is not None
    return runpy.run_path(main.path, run_name=run_name)


def warm_up(config: WorkerConfig) -> None:
    """In a fork server: imports what the workers' target imports, and what they need to serve it if it is an app."""
    preload(config)
    if (target := _imported(config)) is None:
        return
    found = find_function(target)
    if isinstance(config.target, AsgiTarget) or (not config.args and is_asgi(found)):
        warm()


def find_function(target: FunctionTarget) -> Callable[..., Any]:
    """Imports the named function, or app.

    Raises:
        TargetError: The module has none of that name.
    """
    if target.main is not None and "__mp_main__" not in sys.modules:
        _import_main(target.main)
    function: Any = importlib.import_module(target.module)
    for part in target.name.split("."):
        try:
            function = getattr(function, part)
        except AttributeError:
            raise TargetError(f"{target.module} defines no {target.name!r}") from None
    return function  # type: ignore[no-any-return]


def _import_main(main: MainTarget) -> None:
    """Imports the primary's main script as ``__mp_main__``, as multiprocessing does, so its main guard does not run."""
    from types import ModuleType

    module = ModuleType("__mp_main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    module.__dict__.update(_run_main(main, "__mp_main__"))
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def _takes(function: Callable[..., Any], args: list[str]) -> bool:
    """Whether the function accepts these arguments. If not, it can read them from ``sys.argv``."""
    try:
        inspect.signature(function).bind(*args)
    except (TypeError, ValueError):
        return False
    return True
