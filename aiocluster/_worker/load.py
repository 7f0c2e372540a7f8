"""Finds what the primary named, and makes it something to call."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any


def preload(welcome: dict[str, Any]) -> None:
    """Imports what is to be imported first."""
    if welcome["target"].get("in_cwd") and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for module in welcome["preload"]:
        importlib.import_module(module)


def load(welcome: dict[str, Any]) -> Callable[[], Any]:
    """Imports this worker's target, and returns what runs it."""
    named, args = welcome["target"], welcome["args"]
    sys.argv = [welcome["argv0"], *args]
    preload(welcome)
    if named["kind"] == "function":
        function = find_function(named)
        return lambda: function(*args) if _takes(function, args) else function()
    import runpy

    if named["kind"] == "script":
        path = named["path"]
        sys.argv[0] = path
        sys.path.insert(0, path if os.path.isdir(path) else os.path.dirname(path))
        return lambda: runpy.run_path(path, run_name="__main__")
    if named["kind"] == "module":
        sys.path.insert(0, os.getcwd())
        return lambda: runpy.run_module(named["module"], run_name="__main__", alter_sys=True)
    if "main_module" in named:
        return lambda: runpy.run_module(named["main_module"], run_name="__main__", alter_sys=True)
    return lambda: runpy.run_path(named["main_path"], run_name="__main__")


def find_function(named: dict[str, Any]) -> Callable[..., Any]:
    """Imports the function of that name."""
    if named["module"] == "__mp_main__" and "__mp_main__" not in sys.modules:
        _import_main(named)
    function: Any = importlib.import_module(named["module"])
    for part in named["name"].split("."):
        function = getattr(function, part)
    return function  # type: ignore[no-any-return]


def _import_main(named: dict[str, Any]) -> None:
    """Imports the primary's main script under another name, as multiprocessing does: its main guard does not run."""
    import runpy
    from types import ModuleType

    module = ModuleType("__mp_main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    if "main_module" in named:
        contents = runpy.run_module(named["main_module"], run_name="__mp_main__", alter_sys=True)
    else:
        contents = runpy.run_path(named["main_path"], run_name="__mp_main__")
    module.__dict__.update(contents)
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def _takes(function: Callable[..., Any], args: list[str]) -> bool:
    """Whether the function can be called with these arguments; one that can't finds them in ``sys.argv``."""
    try:
        inspect.signature(function).bind(*args)
    except (TypeError, ValueError):
        return False
    return True
