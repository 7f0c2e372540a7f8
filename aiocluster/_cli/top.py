"""``aiocluster top``: clusters and their workers, live."""

from __future__ import annotations

import json
import signal
import sys
import time
from importlib.util import find_spec

import click

from .._control.clusters import Known, known
from .background import JSON, fail, find, one_line, running
from .monitor.rates import measured


@click.command("top")
@click.argument("name", required=False)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it looks; with --json, for how long it measures.",
)
@JSON
def command(name: str | None, interval: float, as_json: bool) -> None:
    """Shows the cluster NAME and its workers, live; without NAME all that run, one at a time.

    Keys: r reloads, + and - scale, s stops the cluster and w replaces a worker (both ask first), Tab shows the next
    cluster, q quits. Needs the extra aiocluster[top], but for --json.
    """
    if as_json:
        with one_line():
            _show_json(name, interval)
        return
    if find_spec("textual") is None:
        fail("top needs textual: pip install aiocluster[top], or use --json", 2)
    with one_line():
        first = running(name).name if name is not None else _first()
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # textual writes to the last
        fail("top needs a terminal; for scripts there is aiocluster top --json", 2)
    from .monitor.app import Top

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also under nohup: without a terminal there is nothing to do
    Top(first, interval).run()


def _show_json(name: str | None, interval: float) -> None:
    before = {one.name: one.describe() for one in _meant(name)}
    if any("age" in one for one in before.values()):
        time.sleep(interval)
    found = [measured(before.get(one.name), one.describe()) for one in _meant(name)]
    click.echo(json.dumps(found if name is None else found[0], indent=2))


def _meant(name: str | None) -> list[Known]:
    return list(known().values()) if name is None else [find(name)]


def _first() -> str:
    for one in known().values():
        if one.is_alive:
            return one.name
    return fail("no cluster runs: aiocluster start --name NAME TARGET", 1)
