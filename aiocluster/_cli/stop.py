"""``aiocluster stop``: ends clusters, and keeps what is needed to start them again."""

from __future__ import annotations

import contextlib
import os
import signal
from datetime import UTC, datetime
from typing import Any

import click

from .._control import protocol
from .._control.client import Connection, ControlError, NotRunningError
from .._control.clusters import Known, known, wait_ended
from .._control.memory import saved
from .background import JSON, Progress, chosen, fail, one_line

_UNTIL_ENDED = 15.0  # seconds from the end of its workers to that of its process


@click.command("stop")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option(
    "--all", "every", is_flag=True, help="All in the background. Others are stopped by name, or where they run."
)
@click.option("--saved", "is_saved", is_flag=True, help="Those that were saved, as `startup` does.")
@click.option("--now", is_flag=True, help="Do not wait for what is in flight.")
@JSON
def command(names: tuple[str, ...], every: bool, is_saved: bool, now: bool, as_json: bool) -> None:
    """Stops clusters: their workers finish what is in flight. `start NAME` starts one again that was started so."""
    progress = Progress(as_json)
    with one_line():
        found = _saved() if is_saved else chosen(names, every)
        if every:
            found = [one for one in found if one.is_alive or one.state not in ("stopped", "failed")]
        if not found:
            progress.say("none runs in the background" if every else "none that was saved is there")
        for one in found:
            was = before(one)
            progress.done(stop(one, progress, now=now), outcome(one, was))


def _saved() -> list[Known]:
    clusters = known()
    names = tuple(start.name for start in saved() if start.name in clusters)
    return chosen(names, False) if names else []


def before(one: Known) -> str:
    """Returns the state of a cluster before it is stopped, without asking it."""
    return "running" if one.is_alive else one.state


def outcome(one: Known, was: str) -> dict[str, Any]:
    """Returns what is known of a cluster that has been stopped, with the state in which it ``was`` before."""
    now = known().get(one.name)
    found = now.describe() if now is not None else {**Known(one.name, None, None).describe(), "state": "stopped"}
    return {**found, "was": was}


def stop(one: Known, progress: Progress, *, now: bool = False) -> str:
    """Stops a cluster, and cleans up behind one that has died. Returns what was done, in words."""
    if one.is_in_between:
        fail(f"{one.name} is still {one.state}: try again", 1)
    if not one.is_alive:
        died = one.state == "died"
        one.clean_up()
        if died and one.memory is not None:
            one.memory.ended(0, None, datetime.now(UTC).isoformat(timespec="milliseconds"))
        return f"{one.name} had {'died: cleaned up' if died else f'{one.state} already'}"
    assert one.claimed is not None
    try:
        _ask(one, progress, now)
    except NotRunningError:
        pass  # it has just ended
    except ControlError as error:
        if wait_ended(one, 0.0):
            pass  # it was killed meanwhile
        elif not now or one.claimed.pid is None:
            raise
        else:
            progress.say(f"{one.name} does not answer ({error}): killed")
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.claimed.pid, signal.SIGKILL)
    if not wait_ended(one, _UNTIL_ENDED):
        fail(f"{one.name}: pid {one.claimed.pid} has not ended: aiocluster stop --now {one.name}", 1)
    one.clean_up()
    return f"{one.name} is stopped"


def _ask(one: Known, progress: Progress, now: bool) -> None:
    assert one.claimed is not None
    with Connection(one.claimed.socket) as connection:
        connection.send(protocol.Stop(not now))
        connection.outcome(progress, within=5.0 if now else None)
