"""``aiocluster list``: the clusters that run, and those that are remembered."""

from __future__ import annotations

import json
from typing import Any

import click

from .._control.clusters import known
from .background import JSON, one_line
from .table import duration, show_table, size, text

_HEADS = ("NAME", "STATE", "PID", "WORKERS", "RESTARTS", "AGE", "MEMORY", "LISTENS ON", "TARGET")


@click.command("list")
@JSON
def command(as_json: bool) -> None:
    """Shows the clusters of this user: those that run, also in the foreground, and those that are remembered."""
    with one_line():
        found = [one.describe() for one in known().values()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        click.echo("There are no clusters. Start one: aiocluster start --name NAME TARGET")
    else:
        show_table(_HEADS, [_row(one) for one in found], ("TARGET", "MEMORY", "RESTARTS", "AGE", "LISTENS ON", "PID"))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    workers = one["workers"]
    memory = sum(worker["memory"] or 0 for worker in workers) + (one.get("memory") or 0)
    return (
        one["name"],
        one["state"],
        text(one["pid"]),
        str(sum(worker["name"] is None for worker in workers)) if workers else "-",
        text(one.get("restarts")),
        duration(one.get("age")),
        size(memory or None),
        text(", ".join(one["addresses"])),
        text(one["target"]),
    )
