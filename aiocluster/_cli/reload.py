"""``aiocluster reload``: all workers anew, without losing a connection."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from .._control import protocol
from .._control.client import RefusedError, ask
from .background import JSON, UPDATE_ENV, Progress, fail, how_many, in_one_line, one_line, running


@click.command("reload")
@click.argument("name")
@UPDATE_ENV
@JSON
def command(name: str, update_env: bool, as_json: bool) -> None:
    """Replaces the workers of the cluster NAME, one after the other, without losing a connection.

    The new ones run the current code. If one can't start, the old ones stay, and the exit code is 1.
    """
    progress = Progress(as_json)
    env = dict(os.environ) if update_env else None
    with one_line():
        one = running(name)
        assert one.claimed is not None
        try:
            found = ask(one.claimed.socket, protocol.Reload(env), progress)
        except RefusedError as error:
            fail(in_one_line(error), 1)
        if env is not None and one.memory is not None and (start := one.memory.start) is not None:
            one.memory.update(replace(start, env=env))
    progress.done(f"{name} has been reloaded: {how_many(found)}", found)
