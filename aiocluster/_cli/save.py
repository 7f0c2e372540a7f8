"""``aiocluster save``: which clusters are to run after the next boot."""

from __future__ import annotations

import click

from .._control.clusters import known
from .._control.memory import Start, save
from .background import one_line


@click.command("save")
def command() -> None:
    """Saves which clusters run now, and how they were started. `start --saved` starts them all, as `startup` does."""
    with one_line():
        starts: list[Start] = []
        for one in known().values():
            start = one.memory.start if one.memory is not None else None
            if one.is_alive and start is not None:
                starts.append(start)
            elif one.is_alive:
                click.echo(f"{one.name} is not saved: it was not started by `aiocluster start`", err=True)
        save(starts)
    click.echo(f"saved: {', '.join(start.name for start in starts) or 'none runs'}")
