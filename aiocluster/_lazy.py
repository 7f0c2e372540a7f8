"""Lazy imports: a package imports a module when one of its public names is first used (PEP 562).

Such a package lists each public name twice: below ``if TYPE_CHECKING`` for type checkers, and in the table for
`exports`, which is used at run time. `tests/test_public_names.py` checks that both lists agree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any


def exports(
    package: str, table: Mapping[str, str], modules: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Args:
        package: The package's name.
        table: For each module, relative to the package, its public names, separated by spaces.
        modules: The package's modules that users name without importing them, as in ``aiocluster.metrics.render()``.
    """
    homes = {name: module for module, names in table.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name in modules:
            return import_module(f".{name}", package)
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home, package), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *modules})

    return __getattr__, __dir__, list(homes)
