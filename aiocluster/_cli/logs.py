"""``aiocluster logs``: what a cluster in the background has written."""

from __future__ import annotations

import sys
import time

import click

from .._control.log_file import Follower, last_lines
from .background import fail, find, one_line

_LOOK = 0.1  # seconds between looks for more


@click.command("logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="How many of the last lines."
)
def command(name: str, follow: bool, lines: int) -> None:
    """Shows what the cluster NAME and its workers have written, also of one that has ended."""
    with one_line():
        memory = find(name).memory
        if memory is None:
            fail(f"{name} writes where it was started: only `aiocluster start` keeps a log", 2)
        if not memory.log.exists():
            fail(f"{name} has no log", 1)
        with Follower(memory.log) as more:
            for line in last_lines(memory.log, lines):
                _show(line)
            while follow:
                for data in more.read():
                    _show(data)
                time.sleep(_LOOK)


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
