"""``aiocluster delete``: ends clusters, and forgets them."""

from __future__ import annotations

import click

from .background import JSON, Progress, chosen, one_line
from .stop import before, outcome, stop


@click.command("delete")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="All in the background.")
@JSON
def command(names: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Stops clusters that run, and forgets how they were started. Their logs are deleted."""
    progress = Progress(as_json)
    with one_line():
        if not (found := chosen(names, every)):
            progress.say("there are none in the background")
        for one in found:
            was = before(one)
            if one.is_alive or one.is_in_between:
                progress.say(stop(one, progress))
            one.clean_up()
            last = outcome(one, was)
            if one.memory is not None:
                one.memory.forget()
            progress.done(f"{one.name} is forgotten", {**last, "state": "deleted", "log": None})
