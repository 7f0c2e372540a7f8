"""``aiocluster stacks``: where all threads and tasks of a worker are."""

from __future__ import annotations

import json
from typing import Any

import click

from .background import JSON
from .looking import SLOT, end, look, shown, where, who


@click.command("stacks")
@click.argument("name")
@SLOT
@JSON
def command(name: str, slot: str | None, as_json: bool) -> None:
    """Shows the stacks of all threads and tasks of the worker in SLOT of the cluster NAME; without SLOT, of all.

    It works while the event loop is blocked, and needs no rights to trace processes. The innermost call stands first.
    SLOT may be an agent's name.
    """
    found = look(name, slot, "stacks")
    if as_json:
        click.echo(json.dumps(found if slot is None else found[0], indent=2))
    else:
        for worker in found:
            click.echo(who(worker))
            show_stacks(worker)
    end(found)


def show_stacks(worker: dict[str, Any]) -> None:
    """Shows what `look` has found."""
    if "error" in worker:
        click.echo(f"    {worker['error']}")
        return
    for thread in worker["threads"]:
        number = "" if thread["id"] is None else f" ({thread['id']})"
        _show(f"thread {thread['name']}{number}", thread["stack"])
    for task in worker["tasks"]:
        _show(f"task {task['name']}: {task['coroutine']}{', runs just now' if task['runs'] else ''}", task["stack"])
    if worker["more"]:
        click.echo(f"    … and {worker['more']} more tasks")


def _show(head: str, stack: list[dict[str, Any]]) -> None:
    click.echo(f"    {shown(head)}")
    for line in stack:
        click.echo(f"        {shown(where(line))}")
