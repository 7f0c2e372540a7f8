"""Packages whose modules are imported when the first of their names is asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attributes(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package.

    Args:
        package: Its name.
        homes: Its public names, and the module within it that each stands in.
    """

    def __getattr__(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f".{home}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__


def listing(package: str, homes: Mapping[str, str]) -> Callable[[], list[str]]:
    """The ``__dir__`` of a package."""
    return lambda: sorted({*vars(sys.modules[package]), *homes})
