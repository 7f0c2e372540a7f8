"""``aiocluster describe``: all that is known of one cluster."""

from __future__ import annotations

import json
from typing import Any

import click

from .background import JSON, find, one_line
from .table import duration, ending, share, show_table, size, slow, text

_HEADS = (
    "SLOT",
    "PID",
    "STATE",
    "AGE",
    "BUSY",
    "CPU",
    "MEMORY",
    "OPEN",
    "TAKEN",
    "MESSAGES",
    "RESTARTS",
    "SLOW",
    "LAST EXIT",
)
_FIRST_TO_GO = ("LAST EXIT", "SLOW", "MESSAGES", "TAKEN", "CPU", "RESTARTS", "BUSY", "OPEN", "AGE", "MEMORY")


@click.command("describe")
@click.argument("name")
@JSON
def command(name: str, as_json: bool) -> None:
    """Shows all that is known of the cluster NAME and its workers."""
    with one_line():
        found = find(name).describe()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for label, value in _facts(found):
        click.echo(f"{label:<11} {value}")
    if found["workers"]:
        click.echo()
        show_table(_HEADS, [_row(worker) for worker in found["workers"]], _FIRST_TO_GO)


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    bounds = found.get("bounds")
    facts = {
        "name": found["name"],
        "state": found["state"],
        "why": found.get("error"),
        "pid": found["pid"],
        "target": " ".join([str(found["target"]), *found.get("args", ())]),
        "folder": found.get("cwd"),
        "python": found.get("python"),
        "aiocluster": found.get("version"),
        "started": found.get("started_at"),
        "age": duration(found["age"]) if "age" in found else None,
        "listens on": ", ".join(found["addresses"]),
        "policy": found.get("policy"),
        "workers": None if bounds is None else bounds[0] if bounds[0] == bounds[1] else f"{bounds[0]} to {bounds[1]}",
        "restarts": found.get("restarts"),
        "last one": ending(found.get("last_restart")),
        "ended": ending(found.get("last_exit")),
        "memory": size(found["memory"]) if found.get("memory") else None,
        "log": found.get("log"),
    }
    return [(label, str(value)) for label, value in facts.items() if value is not None and value != ""]


def _row(worker: dict[str, Any]) -> tuple[str, ...]:
    return (
        text(worker["name"] if worker["slot"] is None else worker["slot"]),
        str(worker["pid"]),
        worker["state"],
        duration(worker["age"]),
        share(worker["busy"]),
        duration(worker["cpu_seconds"]),
        size(worker["memory"]),
        str(worker["connections"]),
        str(worker["taken"]),
        str(worker["messages"]),
        str(worker["restarts"]),
        slow(worker),
        text(ending(worker["last_exit"])),
    )
