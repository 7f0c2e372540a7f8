"""``aiocluster restart``: stops a cluster, and starts it again."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from .background import JSON, UPDATE_ENV, Progress, chosen, fail, one_line
from .start import start_again
from .stop import stop


@click.command("restart")
@click.argument("name")
@UPDATE_ENV
@JSON
def command(name: str, update_env: bool, as_json: bool) -> None:
    """Stops the cluster NAME and starts it anew, its primary too. `reload` does it without a pause for clients."""
    progress = Progress(as_json)
    with one_line():
        (one,) = chosen((name,), False)
        start = one.memory.start if one.memory is not None else None
        if start is None:
            fail(f"{name} was not started by `aiocluster start`, so it is not known how: reload it, or stop it", 2)
        if one.is_alive:
            progress.say(stop(one, progress))
        start_again(replace(start, env=dict(os.environ)) if update_env else start, progress)
