"""``aiocluster start``: a cluster in the background."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click
from click.core import ParameterSource

from .._control.clusters import Known, known
from .._control.folders import runtime_folder
from .._control.launch import StartFailedError, launch
from .._control.memory import Start, memory_of, saved
from .._control.names import named_after
from ..settings import Settings
from . import uvicorn_options
from .background import JSON, Progress, fail, how_many, one_line, where
from .request import with_options
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
    """Takes its own options from before TARGET, and leaves all other words to ``run``.

    Of a cluster that is remembered, all options may also follow its NAME.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        own, of_run, rest = _apart(args, options)
        again = None if ctx.resilient_parsing else _remembered(of_run, rest)
        if again is not None:
            more, more_of_run, left = _apart(rest[1:], options)
            if left:
                raise click.UsageError(
                    f"{again.name} is a cluster that is remembered, and {left[0]!r} after it is no option. "
                    "To start something else that is called so, give it another name with --name",
                    ctx,
                )
            own, of_run, rest = [*own, *more], [*of_run, *more_of_run], []
        super().parse_args(ctx, own)
        ctx.params["again"] = again
        ctx.params["words"] = [*of_run, *rest]
        return []

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS] [OPTIONS OF RUN] TARGET [ARGS]...", "| NAME [OPTIONS] [OPTIONS OF RUN] | --saved"]


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
@JSON
def command(
    is_saved: bool,
    log_max_size: int,
    log_keep: int,
    wait: float,
    as_json: bool,
    again: Known | None,
    words: list[str],
) -> None:
    """Runs TARGET as `run` does, but in the background, under the name that --name gives it, and returns when it is up.

    Its own options stand before TARGET; `aiocluster run --help` shows the others.

    What it writes goes to a log (`aiocluster logs NAME`). NAME starts one again that has been stopped, as it was
    started before; further options are added to those, and remembered.
    """
    progress = Progress(as_json)
    with one_line():
        if is_saved:
            if words or again is not None:
                raise click.UsageError("--saved starts all that were saved: leave out the rest")
            _start_saved(progress, wait)
        elif again is not None:
            start_again(_changed(again, words, log_max_size, log_keep), progress, wait)
        else:
            start_again(_new(words, log_max_size, log_keep), progress, wait)


def _remembered(of_run: list[str], rest: list[str]) -> Known | None:
    """Returns the cluster that is meant to be started again; None if these words are for a new one."""
    if not rest or any(word.partition("=")[0] == "--name" for word in of_run):
        return None
    one = known().get(rest[0])
    start = _start_of(one) if one is not None else None
    if start is None:
        return None
    typed = [*of_run, *rest]  # a module, say, that has given the cluster its name: `start shop --port 80` once more
    is_same = len(typed) > 1 and (start.words, start.cwd) == (["--name", rest[0], *typed], _cwd())
    return None if is_same else one


def _apart(words: Sequence[str], options: Sequence[click.Option]) -> tuple[list[str], list[str], list[str]]:
    """Returns the words of these options, those of other options, and from the first on that is no option."""
    takes = _takes(options)
    all_take = {**_takes(run.params), **takes}
    may_be_uvicorns = True
    own: list[str] = []
    others: list[str] = []
    left = list(words)
    while left and left[0].startswith("-") and left[0] not in ("-", "--"):
        word = left.pop(0)
        flag = word.partition("=")[0]
        where_to = own if flag in takes else others
        where_to.append(word)
        if flag not in all_take and may_be_uvicorns:
            all_take = {**_takes(uvicorn_options.load(()) or ()), **all_take}
            may_be_uvicorns = False
        if all_take.get(flag, False) and flag == word and left:
            where_to.append(left.pop(0))
    return own, others, left


def _takes(options: Iterable[click.Parameter]) -> dict[str, bool]:
    """Returns the flags of these options, each with whether a word follows it."""
    return {
        flag: not one.is_flag and not one.count
        for one in options
        if isinstance(one, click.Option)
        for flag in (*one.opts, *one.secondary_opts)
    }


def _start_of(one: Known) -> Start | None:
    return one.memory.start if one.memory is not None else None


def _refuse_running(one: Known) -> None:
    if one.is_alive:
        pid = one.claimed.pid if one.claimed is not None else None
        fail(f"the name {one.name!r} is in use by pid {pid}: choose another (--name), or stop that one", 2)


def _changed(one: Known, more: list[str], log_max_size: int, log_keep: int) -> Start:
    """Returns how a cluster that is remembered is started again, with these options added."""
    if one.is_alive:
        pid = one.claimed.pid if one.claimed is not None else None
        fail(f"{one.name} runs already, as pid {pid}: stop it first (aiocluster stop {one.name})", 2)
    start = _start_of(one)
    assert start is not None
    given: dict[str, Any] = {
        name: value
        for name, value in (("log_max_size", log_max_size), ("log_keep", log_keep))
        if click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    words = start.words
    if more:
        with contextlib.chdir(start.cwd):  # where files are looked for
            words = with_options(words, more)
            with run.make_context(click.get_current_context().command_path, list(words)):
                pass  # an error ends here, before anything is remembered
    return replace(start, words=words, **given)


def _new(words: list[str], log_max_size: int, log_keep: int) -> Start:
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
    return Start(
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


def start_again(start: Start, progress: Progress, wait: float = 5.0) -> None:
    """Starts a cluster as it says, and shows where it listens, or ends with the reason of its failure in one line."""
    if len(os.fsencode(path := runtime_folder() / f"{start.name}.sock")) > _LONGEST_PATH:
        fail(f"{path} is too long for a socket: set XDG_RUNTIME_DIR to a shorter path, or choose a shorter name", 1)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    env = {name: value for name, value in start.env.items() if name != "XDG_RUNTIME_DIR"}
    if "XDG_RUNTIME_DIR" in os.environ:  # the socket must be where this user's commands look for it now
        env["XDG_RUNTIME_DIR"] = os.environ["XDG_RUNTIME_DIR"]
    memory = memory_of(start.name)
    try:
        found = launch(replace(start, env=env, started_at=now), memory, wait, progress)
    except StartFailedError as error:
        fail(f"{start.name} could not start: {error} (aiocluster logs {start.name})", error.code)
    text = f"{start.name} is up: {how_many(found)}, pid {found['pid']}, {where(found)}"
    progress.done(text, {**found, "log": str(memory.log)})


def _start_saved(progress: Progress, wait: float) -> None:
    clusters = known()
    starts = saved()
    failures = 0
    for start in starts:
        if start.name in clusters and clusters[start.name].is_alive:
            progress.done(f"{start.name} runs already", clusters[start.name].describe())
            continue
        try:
            start_again(start, progress, wait)
        except click.exceptions.Exit:
            failures += 1  # the others are started all the same
    if not starts:
        progress.say("nothing is saved: aiocluster save")
    if failures:
        raise click.exceptions.Exit(1)
