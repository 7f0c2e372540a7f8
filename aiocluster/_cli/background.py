"""What the commands for clusters in the background have in common: which one is meant, and what happens to it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from .._control.client import ControlError
from .._control.clusters import Known, known, settled
from .._control.folders import FolderError
from .._did_you_mean import did_you_mean

JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
_SETTLES = 15.0  # seconds in which a cluster that starts has its name, and one that ends has ended
UPDATE_ENV = click.option("--update-env", is_flag=True, help="With the environment of this shell.")


def fail(text: str, code: int) -> NoReturn:
    """Ends with one line on stderr."""
    click.echo(f"aiocluster: {text}", err=True)
    raise click.exceptions.Exit(code)


def in_one_line(error: Exception) -> str:
    """Returns what an error says, and of the traceback that may follow only the last line: the log has the others."""
    text, _, traceback = str(error).strip().partition("\n")
    return f"{text}: {traceback.splitlines()[-1]}" if "Traceback (most recent call last):" in traceback else text


def unknown(name: str, names: list[str]) -> NoReturn:
    """Ends because there is no such cluster."""
    fail(f"there is no cluster {name!r}{did_you_mean(name, names) if names else ': none runs, or is remembered'}", 2)


def find(name: str) -> Known:
    """Returns the cluster of that name. Ends with code 2 if there is none."""
    found = known()
    return found[name] if name in found else unknown(name, list(found))


def running(name: str) -> Known:
    """Returns the running cluster of that name. Ends with code 2 if there is none."""
    if not (one := settled(find(name), _SETTLES)).is_alive:
        fail(f"{name} does not run ({one.state}): aiocluster start {name}", 2)
    return one


def chosen(names: tuple[str, ...], every: bool) -> list[Known]:
    """Returns the clusters of these names, or all in the background: others end with what has started them.

    Ends with code 2 if one is unknown, before anything is done.
    """
    if not names and not every:
        raise click.UsageError("name a cluster, or say --all")
    if names and every:
        raise click.UsageError("name clusters, or say --all")
    found = known().values() if every else [find(name) for name in dict.fromkeys(names)]
    return [settled(one, _SETTLES) for one in found if one.memory is not None or not every]


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Ends with one line, and code 1, where a cluster can't be asked or a file not be used."""
    try:
        yield
    except (ControlError, FolderError) as error:
        fail(str(error), 1)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise  # nobody reads our output
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)


class Progress:
    """Shows what happens to workers, a line for each.

    Args:
        as_json: Whether as JSON.
    """

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json

    def __call__(self, event: dict[str, Any]) -> None:
        if self._as_json:
            click.echo(json.dumps(event))
        elif (text := in_words(event)) is not None:
            click.echo(text)

    def say(self, text: str) -> None:
        """Shows a line for persons alone."""
        if not self._as_json:
            click.echo(text)

    def done(self, text: str, found: dict[str, Any]) -> None:
        """Shows how it has ended."""
        click.echo(json.dumps(found) if self._as_json else text)


def in_words(event: dict[str, Any]) -> str | None:
    """Returns what has happened to a worker, in words; None if it is not worth a line."""
    who = f"agent {event['name']}" if event.get("name") else f"worker {event.get('slot')}"
    who = f"{who} (pid {event.get('pid')})"
    match event.get("event"):
        case "fork":
            return f"{who} starts"
        case "online":
            return f"{who} is online"
        case "listening":
            return f"{who} listens on {event.get('address')}"
        case "exit":
            how = event.get("signal") or f"exit code {event.get('code')}"
            return f"{who} has left" if event.get("reason") == "told" else f"{who} has ended: {event['reason']}, {how}"
    return None


def where(found: dict[str, Any]) -> str:
    """Returns where a cluster listens, in words."""
    addresses = found.get("addresses") or ()
    return f"listens on {', '.join(addresses)}" if addresses else "listens nowhere yet"


def how_many(found: dict[str, Any]) -> str:
    """Returns how many workers a cluster has, in words."""
    number = sum(worker.get("name") is None for worker in found.get("workers", ()))
    return f"{number} worker{'' if number == 1 else 's'}"
