"""What ``tasks``, ``stacks`` and ``profile`` have in common: they look inside workers, by the control socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from .._control import protocol
from .._control.client import ask
from .._control.clusters import Known
from .._wire.codec import unpack
from .background import fail, one_line, running

_ANSWERS_WITHIN = 15.0  # seconds, beside those that a look takes

SLOT = click.argument("slot", metavar="[SLOT]", required=False)
"""A worker's slot, or an agent's name."""


def look(name: str, slot: str | None, what: str, seconds: float = 0.0, rate: float = 0.0) -> list[dict[str, Any]]:
    """Looks inside the worker in a slot, or inside all; see `protocol.Inspect`.

    Ends with code 2 if there is no such cluster or slot, and with code 1 if none of the workers answers.

    Returns:
        What was found in each worker, with its ``slot``, ``name`` and ``pid``; of one that does not answer, an
        ``error``.
    """
    with one_line():
        one = running(name)
        place = None if slot is None else _place(one, slot)
        assert one.claimed is not None
        request = protocol.Inspect(place, what, seconds, rate)
        workers = ask(one.claimed.socket, request, within=seconds + _ANSWERS_WITHIN)["workers"]
    found = [_unpacked(**worker) for worker in workers]
    if all("error" in worker for worker in found):
        fail(f"{who(found[0])}: {found[0]['error']}" if found else f"{name} has no workers just now", 1)
    return found


def show(
    found: list[dict[str, Any]], slot: str | None, as_json: bool, show_worker: Callable[[dict[str, Any]], None]
) -> None:
    """Shows what `look` has found, and ends the command.

    Args:
        found: What that is.
        slot: The slot that was asked for; None: all of them.
        as_json: Whether it is for a program.
        show_worker: Shows what was found in one worker.
    """
    if as_json:
        click.echo(json.dumps(found if slot is None else found[0], indent=2))
    else:
        for worker in found:
            click.echo(who(worker))
            if "error" in worker:
                click.echo(f"    {worker['error']}")
            else:
                show_worker(worker)
    end(found)


def end(found: list[dict[str, Any]]) -> None:
    """Ends the command: with code 1 if one of the workers has not answered."""
    if any("error" in worker for worker in found):
        raise click.exceptions.Exit(1)


def who(worker: dict[str, Any]) -> str:
    """Returns which worker it is, in words."""
    role = f"agent {worker['name']}" if worker["slot"] is None else f"worker {worker['slot']}"
    return f"{role} (pid {worker['pid']})"


def shown(text: str) -> str:
    """Returns a text of a worker's as a terminal may show it: the name of a task can have anything in it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def where(line: dict[str, Any]) -> str:
    """Returns a line of a stack in words."""
    return f"{line['function']} ({line['file']}:{line['line']})"


def _unpacked(found: bytes | None = None, **who: Any) -> dict[str, Any]:
    return who if found is None else {**who, **unpack(found)}


def _place(one: Known, slot: str) -> int | str:
    """Returns the slot, or the agent's name. Ends with code 2 if there is none."""
    workers = one.describe()["workers"]
    places = {str(worker["name"] if worker["slot"] is None else worker["slot"]): worker for worker in workers}
    if slot not in places:
        fail(f"{one.name} has no worker in slot {slot}: there are {', '.join(sorted(places)) or 'none'}", 2)
    found = places[slot]
    place: int | str = found["name"] if found["slot"] is None else found["slot"]
    return place
