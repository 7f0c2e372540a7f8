"""``aiocluster logs``: what a cluster in the background has written."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import click

from .._control.log_file import Follower
from .background import JSON, fail, find, one_line
from .log_lines import lines as whole_lines
from .log_lines import parsed

_LOOK = 0.1  # seconds between looks for more


@click.command("logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="How many of the last lines."
)
@JSON
def command(name: str, follow: bool, lines: int, as_json: bool) -> None:
    """Shows what the cluster NAME and its workers have written, also of one that has ended.

    With --json an object for each line: time, level, stream, slot and text, and what else the log tells.
    """
    with one_line():
        memory = find(name).memory
        if memory is None:
            fail(f"{name} writes where it was started: only `aiocluster start` keeps a log", 2)
        if not memory.log.exists():
            fail(f"{name} has no log", 1)
        with Follower(memory.log) as more:
            pieces = _pieces(more, more.last_lines(lines), follow)
            for piece in whole_lines(pieces) if as_json else pieces:
                if as_json:
                    click.echo(json.dumps(parsed(piece)))
                else:
                    sys.stdout.buffer.write(piece)
                    sys.stdout.buffer.flush()


def _pieces(more: Follower, last: list[bytes], follow: bool) -> Iterator[bytes]:
    yield from last
    while follow:
        yield from more.read()
        time.sleep(_LOOK)
