"""The options of uvicorn's own command, which count for an ASGI app. Imported only when one of them may be meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import click

_ELSEWHERE = {"app", "version", "timeout_worker_healthcheck"}
"""Those that have no meaning here, beside all that ``run`` has an option for, and those about reloads."""


def load(ours: Collection[str]) -> list[click.Parameter] | None:
    """Returns uvicorn's options, without those that ``run`` has itself. None: uvicorn is not installed.

    Args:
        ours: The names of the options that ``run`` has.
    """
    try:
        from uvicorn.main import main
    except ImportError:
        return None
    return [
        option
        for option in main.params
        if isinstance(option, click.Option)
        and option.name not in ours
        and option.name not in _ELSEWHERE
        and not str(option.name).startswith("reload")
    ]


def settings(options: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the settings of `uvicorn.Config` that these options are, as uvicorn's own command makes them."""
    found = dict(options)
    if (headers := found.get("headers")) is not None:
        if wrong := [header for header in headers if ":" not in header]:
            raise click.UsageError(f"--header: {wrong[0]!r} is not NAME:VALUE")
        found["headers"] = [header.split(":", 1) for header in headers]
    return found
