"""``aiocluster tasks``: the asyncio tasks of a worker."""

from __future__ import annotations

from typing import Any

import click

from .background import JSON
from .looking import SLOT, look, show, shown, where


@click.command("tasks")
@click.argument("name")
@SLOT
@JSON
def command(name: str, slot: str | None, as_json: bool) -> None:
    """Shows the asyncio tasks of the worker in SLOT of the cluster NAME; without SLOT, of all workers.

    Below each task stand those that it waits for, and beside it where it is in the code. SLOT may be an agent's name.
    """
    show(look(name, slot, "tasks"), slot, as_json, _show_worker)


def _show_worker(worker: dict[str, Any]) -> None:
    for line in tree(worker["tasks"]):
        click.echo(f"    {line}")
    if worker["more"]:
        click.echo(f"    … and {worker['more']} more tasks")
    elif worker["loop"] is None:
        click.echo("    no event loop runs")


def tree(tasks: list[dict[str, Any]]) -> list[str]:
    """Returns the tasks as a tree: below each one those that it waits for. One that several wait for is shown once."""
    below: dict[int | None, list[int]] = {}
    for number, task in enumerate(tasks):
        below.setdefault(min(task["awaited_by"], default=None), []).append(number)
    lines: list[str] = []
    shown: set[int] = set()

    def add(root: int) -> None:
        waiting = [(root, "", "")]
        while waiting:
            number, first, others = waiting.pop()
            if number in shown:
                continue
            shown.add(number)
            lines.append(first + _in_words(tasks[number]))
            children = [child for child in below.get(number, ()) if child not in shown]
            for child in reversed(children):
                is_last = child == children[-1]
                waiting.append((child, others + ("└─ " if is_last else "├─ "), others + ("   " if is_last else "│  ")))

    for number in [*below.get(None, ()), *range(len(tasks))]:  # tasks that wait for each other have no first one
        add(number)
    return lines


def _in_words(task: dict[str, Any]) -> str:
    own = next((line for line in task["stack"] if line["own"]), None)
    innermost = task["stack"][0] if task["stack"] else None
    parts = [f"{task['name']}: {task['coroutine']}"]
    if own is not None:
        parts.append(f"at {own['file']}:{own['line']} in {own['function']}")
    if task["runs"]:
        parts.append("runs just now")
    elif innermost is not None and innermost is not own:
        parts.append(f"waits in {where(innermost)}")
    return shown(", ".join(parts))
