"""``aiocluster restart``: stops a cluster, and starts it again."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from .background import UPDATE_ENV, fail, find, one_line
from .start import start_again
from .stop import stop


@click.command("restart")
@click.argument("name")
@UPDATE_ENV
def command(name: str, update_env: bool) -> None:
    """Stops the cluster NAME and starts it anew, its primary too. `reload` does it without a pause for clients."""
    with one_line():
        one = find(name)
        start = one.memory.start if one.memory is not None else None
        if start is None:
            fail(f"{name} was not started by `aiocluster start`, so it is not known how: reload it, or stop it", 2)
        if one.is_alive:
            stop(one)
        start_again(replace(start, env=dict(os.environ)) if update_env else start)
