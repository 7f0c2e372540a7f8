"""``aiocluster start``: a cluster in the background."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from .._control.clusters import Known, known
from .._control.folders import runtime_folder
from .._control.launch import StartFailedError, launch
from .._control.memory import Start, memory_of, saved
from .._control.names import named_after
from ..settings import Settings
from .background import Progress, fail, how_many, one_line, where
from .run import command as run

_LONGEST_PATH = 103  # bytes of a socket's path: sun_path of macOS, with its NUL; Linux has 107
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


class SizeType(click.ParamType[int]):
    """Bytes, as ``512K``, ``10M`` or ``1G``."""

    name = "size"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        unit = _UNITS.get(value[-1:].upper(), 1)
        number = value[:-1] if unit > 1 else value
        if not number.isascii() or not number.isdecimal() or int(number) == 0:
            self.fail(f"{value!r} is no size: write 512K, 10M or 1G", parameter, context)
        return int(number) * unit


class StartCommand(click.Command):
    """Takes its own options from before TARGET, and leaves all other words to ``run``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, words = _apart(args, [one for one in self.get_params(ctx) if isinstance(one, click.Option)])
        super().parse_args(ctx, own)
        ctx.params["words"] = words
        return []

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS] [OPTIONS OF RUN] TARGET [ARGS]...", "| NAME | --saved"]


@click.command("start", cls=StartCommand)
@click.option("--saved", "is_saved", is_flag=True, help="Start all that were saved and do not run.")
@click.option("--log-max-size", type=SizeType(), default="10M", show_default=True, help="Rotate the log at this size.")
@click.option("--log-keep", type=click.IntRange(0), default=5, show_default=True, help="How many old logs are kept.")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a port, once the workers are online.",
)
def command(is_saved: bool, log_max_size: int, log_keep: int, wait: float, words: list[str]) -> None:
    """Runs TARGET as `run` does, but in the background, under the name that --name gives it, and returns when it is up.

    Its own options stand before TARGET; `aiocluster run --help` shows the others.

    What it writes goes to a log (`aiocluster logs NAME`). NAME alone starts one again that has been stopped, as it was
    started before.
    """
    with one_line():
        if is_saved:
            _start_saved(words, wait)
        elif len(words) == 1 and (one := known().get(words[0])) is not None and (start := _start_of(one)) is not None:
            _refuse_running(one)
            start_again(start, wait)
        else:
            _start_new(words, log_max_size, log_keep, wait)


def _apart(words: Sequence[str], options: Sequence[click.Option]) -> tuple[list[str], list[str]]:
    """Returns the words of these options, which stand before TARGET, and the others."""
    takes = {flag: not one.is_flag and not one.count for one in options for flag in (*one.opts, *one.secondary_opts)}
    takes_of_run = {
        flag: not one.is_flag and not one.count
        for one in run.params
        if isinstance(one, click.Option)
        for flag in (*one.opts, *one.secondary_opts)
    }
    own: list[str] = []
    others: list[str] = []
    left = list(words)
    while left and left[0].startswith("-") and left[0] not in ("-", "--"):
        word = left.pop(0)
        flag = word.partition("=")[0]
        where_to = own if flag in takes else others
        where_to.append(word)
        if {**takes_of_run, **takes}.get(flag, False) and flag == word and left:
            where_to.append(left.pop(0))
    return own, [*others, *left]


def _start_of(one: Known) -> Start | None:
    return one.memory.start if one.memory is not None else None


def _refuse_running(one: Known) -> None:
    if one.is_alive:
        pid = one.claimed.pid if one.claimed is not None else None
        fail(f"the name {one.name!r} is in use by pid {pid}: choose another (--name), or stop that one", 2)


def _start_new(words: list[str], log_max_size: int, log_keep: int, wait: float) -> None:
    with run.make_context(click.get_current_context().command_path, list(words)) as context:
        target, given = str(context.params["target"]), context.params.get("name")
    clusters = known()
    if given is None:
        name = _free_name(named_after(target), words, clusters)
    else:
        name = given
        try:
            Settings(name=name)
        except (TypeError, ValueError) as error:
            fail(f"--{error}", 2)
        if name in clusters:
            _refuse_running(clusters[name])
    start = Start(
        name=name,
        target=target,
        words=["--name", name, *words],
        cwd=_cwd(),
        env=dict(os.environ),
        executable=sys.executable,
        log_max_size=log_max_size,
        log_keep=log_keep,
        started_at="",
    )
    start_again(start, wait)


def _free_name(name: str, words: list[str], clusters: dict[str, Known]) -> str:
    """Returns the first name that nobody has, or that of a stopped one that was started in the same way."""
    number = 1
    while True:
        candidate = name if number == 1 else f"{name}-{number}"
        one = clusters.get(candidate)
        if one is None:
            return candidate
        start = _start_of(one)
        is_same = start is not None and (start.words, start.cwd) == (["--name", candidate, *words], _cwd())
        if not one.is_alive and (start is None or is_same):
            return candidate
        number += 1


def _cwd() -> str:
    """Returns the working directory, with the links in it that a deploy switches."""
    named = os.environ.get("PWD", "")
    try:
        return named if os.path.isabs(named) and os.path.samefile(named, ".") else os.getcwd()
    except OSError:
        return os.getcwd()


def start_again(start: Start, wait: float = 5.0) -> None:
    """Starts a cluster as it says, and shows where it listens, or ends with the reason of its failure in one line."""
    if len(os.fsencode(path := runtime_folder() / f"{start.name}.sock")) > _LONGEST_PATH:
        fail(f"{path} is too long for a socket: set XDG_RUNTIME_DIR to a shorter path, or choose a shorter name", 1)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    env = {name: value for name, value in start.env.items() if name != "XDG_RUNTIME_DIR"}
    if "XDG_RUNTIME_DIR" in os.environ:  # the socket must be where this user's commands look for it now
        env["XDG_RUNTIME_DIR"] = os.environ["XDG_RUNTIME_DIR"]
    memory = memory_of(start.name)
    try:
        found = launch(replace(start, env=env, started_at=now), memory, wait, Progress())
    except StartFailedError as error:
        fail(f"{start.name} could not start: {error} (aiocluster logs {start.name})", error.code)
    click.echo(f"{start.name} is up: {how_many(found)}, pid {found['pid']}, {where(found)}")


def _start_saved(words: list[str], wait: float) -> None:
    if words:
        raise click.UsageError("--saved starts all that were saved: leave out the rest")
    clusters = known()
    starts = saved()
    failures = 0
    for start in starts:
        if start.name in clusters and clusters[start.name].is_alive:
            click.echo(f"{start.name} runs already")
            continue
        try:
            start_again(start, wait)
        except click.exceptions.Exit:
            failures += 1  # the others are started all the same
    if not starts:
        click.echo("nothing is saved: aiocluster save")
    if failures:
        raise click.exceptions.Exit(1)
