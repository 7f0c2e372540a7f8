"""``aiocluster save``: which clusters are to run after the next boot."""

from __future__ import annotations

import json

import click

from .._control.clusters import known
from .._control.memory import Start, save
from .background import JSON, one_line


@click.command("save")
@JSON
def command(as_json: bool) -> None:
    """Saves which clusters run now, and how they were started. `start --saved` starts them all, as `startup` does."""
    with one_line():
        starts: list[Start] = []
        others: list[str] = []
        for one in known().values():
            start = one.memory.start if one.memory is not None else None
            if one.is_alive and start is not None:
                starts.append(start)
            elif one.is_alive:
                others.append(one.name)
        save(starts)
    names = [start.name for start in starts]
    if as_json:
        click.echo(json.dumps({"saved": names, "not_saved": others}))
        return
    for name in others:
        click.echo(f"{name} is not saved: it was not started by `aiocluster start`", err=True)
    click.echo(f"saved: {', '.join(names) or 'none runs'}")
