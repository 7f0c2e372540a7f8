"""``aiocluster stacks``: where all threads and tasks of a worker are."""

from __future__ import annotations

from typing import Any

import click

from .background import JSON
from .looking import SLOT, look, show, shown, where


@click.command("stacks")
@click.argument("name")
@SLOT
@JSON
def command(name: str, slot: str | None, as_json: bool) -> None:
    """Shows the stacks of all threads and tasks of the worker in SLOT of the cluster NAME; without SLOT, of all.

    It works while the event loop is blocked, and needs no rights to trace processes. The innermost call stands first.
    SLOT may be an agent's name.
    """
    show(look(name, slot, "stacks"), slot, as_json, _show_worker)


def _show_worker(worker: dict[str, Any]) -> None:
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
