"""``aiocluster delete``: ends clusters, and forgets them."""

from __future__ import annotations

import click

from .background import chosen, one_line
from .stop import stop


@click.command("delete")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="All.")
def command(names: tuple[str, ...], every: bool) -> None:
    """Stops clusters that run, and forgets how they were started. Their logs are deleted."""
    with one_line():
        for one in chosen(names, every):
            if one.is_alive:
                stop(one)
            one.clean_up()
            if one.memory is not None:
                one.memory.forget()
            click.echo(f"{one.name} is forgotten")
