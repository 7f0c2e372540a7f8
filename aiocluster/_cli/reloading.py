"""The options of ``run`` for development: which files are watched."""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

_INSTALLED = frozenset({"site-packages", "dist-packages"})

_OPTIONS = (
    click.option("--reload", is_flag=True, help="Watch the code, and swap all workers at once when it changes."),
    click.option(
        "--reload-dir",
        "reload_dirs",
        multiple=True,
        type=click.Path(exists=True),
        help="Watch this folder or file instead of the working directory and the target's folder. Implies --reload.",
    ),
    click.option(
        "--reload-include",
        "reload_include",
        multiple=True,
        metavar="GLOB",
        help="Files that count beside *.py, such as *.html.",
    ),
    click.option(
        "--reload-exclude",
        "reload_exclude",
        multiple=True,
        metavar="GLOB",
        help="Files and folders that do not count, beside caches, .venv, .git and the like.",
    ),
)


def options(command: _Command) -> _Command:
    """Adds ``--reload`` and what belongs to it to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings(
    target: str,
    *,
    reload: bool,
    reload_dirs: Sequence[str],
    reload_include: Sequence[str],
    reload_exclude: Sequence[str],
) -> dict[str, Any]:
    """Returns the settings of a `Cluster` that these options stand for.

    Raises:
        click.UsageError: An option has no effect, or no folder can be found that is worth watching.
    """
    if not reload and not reload_dirs:
        if reload_include or reload_exclude:
            raise click.UsageError("--reload-include and --reload-exclude have no effect without --reload")
        return {}
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # the cluster says what has changed
    watched = reload_dirs or default_folders(target)
    return {"reload_on_change": watched, "reload_include": reload_include, "reload_exclude": reload_exclude}


def default_folders(target: str) -> list[str]:
    """Returns the working directory, and the folder of the target if that is elsewhere and not installed.

    Raises:
        click.UsageError: The working directory is ``/``: that is the whole system.
    """
    here = os.path.realpath(".")
    if here == os.sep:
        raise click.UsageError("--reload would watch all files of the system: start in another folder, or --reload-dir")
    return [here, *_folders_of(target, here)]


def _folders_of(target: str, here: str) -> list[str]:
    if os.sep in target or target.endswith(".py"):
        return [os.path.dirname(os.path.realpath(target)) or here]
    package = target.partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(package, [here, *sys.path])
    if spec is None:
        return []
    origin = spec.origin if spec.origin is not None and os.path.isfile(spec.origin) else None
    found = spec.submodule_search_locations or ([os.path.dirname(origin)] if origin else [])
    return [folder for folder in map(os.path.realpath, found) if not _is_installed(folder)]


def _is_installed(folder: str) -> bool:
    library = os.path.realpath(sysconfig.get_path("stdlib"))
    return os.path.commonpath([folder, library]) == library or not _INSTALLED.isdisjoint(folder.split(os.sep))
