"""What a command line of ``run`` asks for: `parse_run`.

What the words are is up to `RunCommand`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click
from click.core import ParameterSource

from ..integrations.asgi import AsgiApp
from ..settings import ClusterSettings, RestartPolicy
from . import config, instrument, options, reloading, uvicorn_options
from .output.configure import LogFormat
from .run_command import is_member, line_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What ``run`` is to do.

    Attributes:
        target: What workers run.
        settings: The cluster's settings, as far as they were given. ``args`` are the target's own words.
        words: The words of the command line that this was read from. A reload reads them again.
        pid_file: Where the process id is written to.
        app_dir: Where the target is looked for, before the working directory.
        log_level: The least severe records that are shown.
        log_format: ``"text"`` or ``"json"``.
        warnings: Lines about words that probably mean something else.
        options: All options by name, with those that were not given.
    """

    target: str | AsgiApp
    settings: ClusterSettings
    words: tuple[str, ...]
    pid_file: str | None
    app_dir: str | None
    log_level: str
    log_format: LogFormat
    warnings: tuple[str, ...]
    options: Mapping[str, Any]


def parse_run(words: Sequence[str]) -> RunRequest:
    """Reads a command line, with the variables and the files that belong to it. Starts no worker.

    ``opentelemetry-instrument`` is asked what it sets, once for the same options and variables.

    Args:
        words: What follows ``aiocluster run``.

    Raises:
        click.UsageError: It is wrong. ``format_message()`` says how, and names where the wrong value came from.
        click.exceptions.Exit: It was ``--help``.
    """
    from .run import command  # which needs this module

    with command.make_context(command.name, list(words)) as context:
        return request_of(context)


def request_of(ctx: click.Context) -> RunRequest:
    """Returns what a parsed command line asks for.

    Args:
        ctx: Its context.

    Raises:
        click.UsageError: Options contradict each other, or a file of variables is wrong.
    """
    given = {name: value for name, value in ctx.params.items() if _source(ctx, name) is not ParameterSource.DEFAULT}
    names = {one.name for one in options.SETTINGS}
    settings: dict[str, Any] = {name: value for name, value in given.items() if name in names}
    settings["args"] = ctx.params["args"]
    settings["systemd"] = True
    variables: dict[str, str] = {}
    for path in ctx.params["env_file"]:
        variables.update(config.read_env_file(path))
    if variables:
        settings["env"] = {**variables, **settings.get("env", {})}
    if line_of(ctx).instrument:
        settings["env"] = {**settings.get("env", {}), **_instrumented(ctx, settings)}
    if (wait := given.get("restart_backoff")) is not None:
        settings["restart"] = _with_backoff(settings.get("restart", RestartPolicy()), wait, ctx)
    watching = {name: ctx.params[name] for name in ("reload", "reload_dirs", "reload_include", "reload_exclude")}
    settings.update(reloading.settings(ctx.params["target"], **watching))
    return RunRequest(
        target=_target(ctx, given),
        settings=ClusterSettings(**settings),  # type: ignore[typeddict-item]
        words=line_of(ctx).words,
        pid_file=ctx.params["pid_file"],
        app_dir=ctx.params["app_dir"],
        log_level=ctx.params["log_level"] or "info",
        log_format=ctx.params["log_format"] or "text",
        warnings=line_of(ctx).warnings,
        options=dict(ctx.params),
    )


def with_options(words: Sequence[str], more: Sequence[str]) -> list[str]:
    """Returns a command line of ``run`` with more options, which count before those that it has.

    Args:
        words: The command line.
        more: The options.

    Raises:
        click.UsageError: It is wrong.
    """
    from .run import command

    with command.make_context(command.name, list(words)) as context:
        line = line_of(context)
    separator = ["--"] if line.rest and line.target is not None and is_member(line.target) else []
    rest = [] if line.target is None else [*line.instrument, line.target, *separator, *line.rest]
    return [*line.own, *more, *rest]


def _source(ctx: click.Context, name: str) -> ParameterSource:
    return ctx.get_parameter_source(name) or ParameterSource.DEFAULT


def _with_backoff(policy: Any, wait: tuple[float, float], ctx: click.Context) -> Any:
    try:
        return replace(policy, backoff=wait) if policy else policy
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"--restart-backoff: {error}", ctx) from None


def _instrumented(ctx: click.Context, settings: Mapping[str, Any]) -> Mapping[str, str]:
    """Returns the variables that ``opentelemetry-instrument`` in front of the target sets."""
    env = {**os.environ, **settings.get("env", {})}
    options = line_of(ctx).instrument[1:]
    try:
        return instrument.variables(options, env, executable=settings.get("executable"), cwd=settings.get("cwd"))
    except instrument.InstrumentError as error:
        raise click.UsageError(str(error), ctx) from None


def _target(ctx: click.Context, given: Mapping[str, Any]) -> str | AsgiApp:
    """Returns the target: an app if an option of one was given. Where it was not for the target, that is an error."""
    target: str = ctx.params["target"]
    uvicorn = {str(one.name) for one in line_of(ctx).uvicorn or ()}
    of_an_app = {str(one.name) for one in options.APP} | uvicorn
    found = {name: value for name, value in given.items() if name in of_an_app}
    if not found:
        return target
    if not is_member(target):
        said = [name for name in found if _source(ctx, name) is ParameterSource.COMMANDLINE]
        if said:
            raise click.UsageError(
                f"{_flag(ctx, said[0])} is for an ASGI app (module:name), and {target} is none: "
                f"what it takes itself follows it",
                ctx,
            )
        return target
    if words := ctx.params["args"]:
        if not found.get("factory"):
            return target  # a function with words of its own, which what is said elsewhere for apps does not hinder
        raise click.UsageError(
            f"{target} returns an ASGI app (--factory, by a variable or TOML), so {words[0]!r} is none of its words: "
            f"say --factory in front, and what follows are options; or --no-factory",
            ctx,
        )
    found = _one_place(ctx, found)
    how = {name: found.pop(name) for name in ("factory", "bind", "uds", "uds_mode", "fd") if name in found}
    try:
        return AsgiApp(target, **how, uvicorn=uvicorn_options.settings(found.items()))
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error), ctx) from None


def _one_place(ctx: click.Context, found: dict[str, Any]) -> dict[str, Any]:
    """Drops the addresses of a source that a higher one overrules: ``--port`` does so with TOML's ``bind``."""
    groups = [("bind",), ("host", "port"), ("uds",), ("fd",)]
    ranks = {group: min((_source(ctx, name) for name in group if name in found), default=None) for group in groups}
    if not (there := [rank for rank in ranks.values() if rank is not None]):
        return found
    kept = [group for group, rank in ranks.items() if rank == min(there)]
    if ("bind",) in kept and ("host", "port") in kept:
        raise click.UsageError("--bind has the host and the port: leave out --host and --port", ctx)
    lost = {name for group in groups if group not in kept for name in group}
    return {name: value for name, value in found.items() if name not in lost}


def _flag(ctx: click.Context, name: str) -> str:
    return next(one.opts[0] for one in ctx.command.get_params(ctx) if one.name == name)
