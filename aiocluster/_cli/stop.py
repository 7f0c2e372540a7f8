"""``aiocluster stop``: ends clusters, and keeps what is needed to start them again."""

from __future__ import annotations

import contextlib
import os
import signal
from datetime import UTC, datetime

import click

from .._control import protocol
from .._control.client import Connection, ControlError, NotRunningError
from .._control.clusters import Known, known, wait_ended
from .._control.memory import saved
from .background import Progress, chosen, fail, one_line

_UNTIL_ENDED = 15.0  # seconds from the end of its workers to that of its process


@click.command("stop")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="All that run.")
@click.option("--saved", "is_saved", is_flag=True, help="Those that were saved, as `startup` does.")
@click.option("--now", is_flag=True, help="Do not wait for what is in flight.")
def command(names: tuple[str, ...], every: bool, is_saved: bool, now: bool) -> None:
    """Stops clusters: their workers finish what is in flight. `start NAME` starts one again that was started so."""
    with one_line():
        for one in _saved() if is_saved else chosen(names, every):
            stop(one, now=now)


def _saved() -> list[Known]:
    clusters = known()
    return [clusters[start.name] for start in saved() if start.name in clusters]


def stop(one: Known, *, now: bool = False) -> None:
    """Stops a cluster, and says so. Cleans up behind one that has died."""
    if not one.is_alive:
        died = one.state == "died"
        one.clean_up()
        if died and one.memory is not None:
            one.memory.ended(0, None, datetime.now(UTC).isoformat(timespec="milliseconds"))
        click.echo(f"{one.name} had {'died: cleaned up' if died else f'{one.state} already'}")
        return
    assert one.claimed is not None
    try:
        _ask(one, now)
    except NotRunningError:
        pass  # it has just ended
    except ControlError as error:
        if wait_ended(one, 0.0):
            pass  # it was killed meanwhile
        elif not now or one.claimed.pid is None:
            raise
        else:
            _kill(one, one.claimed.pid, error)
    if not wait_ended(one, _UNTIL_ENDED):
        fail(f"{one.name}: pid {one.claimed.pid} has not ended: aiocluster stop --now {one.name}", 1)
    one.clean_up()
    click.echo(f"{one.name} is stopped")


def _kill(one: Known, pid: int, error: ControlError) -> None:
    click.echo(f"{one.name} does not answer ({error}): killed")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _ask(one: Known, now: bool) -> None:
    assert one.claimed is not None
    with Connection(one.claimed.socket) as connection:
        connection.send(protocol.Stop(not now))
        connection.outcome(Progress(), within=5.0 if now else None)
