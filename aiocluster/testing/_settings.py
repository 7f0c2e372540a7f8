"""Targets and settings as JSON carries them, on their way to a process of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from ..integrations.asgi import AsgiApp
from ..settings import Agent, RestartPolicy

_CLASSES: Final[Mapping[str, Any]] = {one.__name__: one for one in (Agent, AsgiApp, RestartPolicy)}
_KIND: Final = "is a"


def as_json(name: str, value: Any) -> Any:
    """Returns a value as JSON carries it.

    Args:
        name: The setting's name, for errors.
        value: Its value. A function is named.

    Raises:
        TypeError: It can't be carried.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return {_KIND: "path", "path": os.fspath(value)}
    if isinstance(value, (Agent, AsgiApp, RestartPolicy)):
        names = [one.name for one in fields(value)]
        return {_KIND: type(value).__name__, "fields": {one: as_json(name, getattr(value, one)) for one in names}}
    if isinstance(value, Mapping):
        return {_KIND: "mapping", "items": [[as_json(name, key), as_json(name, one)] for key, one in value.items()]}
    if isinstance(value, (list, tuple)):
        return [as_json(name, one) for one in value]
    if callable(value):
        return {_KIND: "function", "name": _name(name, value)}
    raise TypeError(
        f"{name}={value!r} can't be sent to the cluster's own process: say it with text, numbers or functions"
    )


def from_json(value: Any) -> Any:
    """Returns what `as_json` was given; lists are tuples, and functions are their names."""
    if isinstance(value, list):
        return tuple(from_json(one) for one in value)
    if not isinstance(value, dict):
        return value
    match value[_KIND]:
        case "path":
            from pathlib import Path

            return Path(value["path"])
        case "mapping":
            return {from_json(key): from_json(one) for key, one in value["items"]}
        case "function":
            return value["name"]
        case kind:
            return _CLASSES[kind](**{name: from_json(one) for name, one in value["fields"].items()})


def _name(name: str, function: Callable[..., Any]) -> str:
    qualified = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", None)
    if not qualified or module in (None, "__main__") or "<" in qualified or name == "env":
        raise TypeError(
            f"{name}={function!r} can't be found by the cluster's own process: give a function of a module, or its "
            'name as text, such as "shop.web:app"'
        )
    return f"{module}:{qualified}"
