"""One side of a measurement in a Python process of its own.

``python -m tests.benchmarks.own_process p1_one_way:receive`` runs that function of this package,
a coroutine function on uvloop, and prints what it returns as one line of JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import Callable
from typing import Any


def python(function: Callable[..., object], *arguments: str) -> list[str]:
    """The command that runs a module-level function of this package in a process of its own."""
    module = function.__module__.rpartition(".")[2]
    return [
        sys.executable,
        "-m",
        f"{__package__}.own_process",
        f"{module}:{function.__name__}",
        *arguments,
    ]


def target(function: Callable[..., object]) -> str:
    """A function as the target of a worker, by name: the primary's main script is this file."""
    return f"{function.__module__}:{function.__name__}"


async def stdin_closed() -> None:
    """Return when the driver wants this server gone."""
    await asyncio.to_thread(sys.stdin.read)


def _run(name: str, arguments: list[str]) -> Any:
    module, _, function_name = name.partition(":")
    function = getattr(importlib.import_module(f"{__package__}.{module}"), function_name)
    if inspect.iscoroutinefunction(function):
        import uvloop

        return uvloop.run(function(*arguments))
    return function(*arguments)


if __name__ == "__main__":
    result = _run(sys.argv[1], sys.argv[2:])
    if result is not None:
        print(json.dumps(result), flush=True)
