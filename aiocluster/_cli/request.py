"""What a command line of ``run`` asks for: `parse_run`.

Which words are whose:

========================  ==========================================================================================
TARGET                    what follows it
========================  ==========================================================================================
a script, a module        its own, as with ``python`` and ``python -m``
``module:name``           options of ``run`` and uvicorn's; but the function's own where the first word is none, or is
                          ``--``, or where the source says that it is a plain function (`is_plain_function`). After an
                          option of an app, such as ``--factory``, it is an app, which has no words of its own
========================  ==========================================================================================

What ``run`` is told comes from the command line, else from ``AIOCLUSTER_…``, else from TOML.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import click
from click.core import ParameterSource

from .._primary.target import is_plain_function
from ..integrations.asgi import AsgiApp
from ..settings import ClusterSettings, RestartPolicy
from . import config, options, reloading, uvicorn_options
from .output.configure import LogFormat
from .servers import warning

_UVICORN = f"{__name__}.uvicorn"  # in a context's meta: uvicorn's options
_PLACE = f"{__name__}.place"  # where TOML came from
_WORDS = f"{__name__}.words"
_APART = f"{__name__}.apart"
_WARNINGS = f"{__name__}.warnings"

_ALSO_OF_OTHERS = frozenset(["config", "env", "env_file", "help", "log_format", "log_level", "name", "version"])
"""Options that many programs have, so that nobody is surprised to find them behind a script."""


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
    """Reads a command line, with the variables and the files that belong to it. Starts nothing.

    Args:
        words: What follows ``aiocluster run``.

    Raises:
        click.UsageError: It is wrong. ``format_message()`` says how, and names where the wrong value came from.
        click.exceptions.Exit: It was ``--help``.
    """
    from .run import command  # which needs this module

    with command.make_context(command.name, list(words)) as context:
        return request_of(context)


class RunCommand(click.Command):
    """A command with the options of `options`, TARGET and ARGS.

    Args:
        name: See `click.Command`.
        params: Further options.
        **attributes: See `click.Command`.
    """

    def __init__(self, name: str, *, params: list[click.Parameter] | None = None, **attributes: Any) -> None:
        ours = [*options.SETTINGS, *options.COMMAND, *options.APP, *(params or ())]
        target = click.Argument(["target"], required=False, envvar="AIOCLUSTER_TARGET", metavar="TARGET")
        rest = click.Argument(["args"], nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
        attributes["context_settings"] = {
            **attributes.get("context_settings", {}),
            "allow_interspersed_args": False,
            "auto_envvar_prefix": "AIOCLUSTER",
        }
        super().__init__(name, params=[*ours, target, rest], **attributes)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *(ctx.meta.get(_UVICORN) or ())]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = tuple(args)
        with _errors_of(ctx):
            own, target, rest = self._split(ctx, args)
            if target is not None and _is_member(target):
                own, rest = self._of_a_member(ctx, own, target, rest)
            elif target is not None:
                self._warn(ctx, own, target, rest)
            ctx.meta[_APART] = (own, target, rest)
            self._read_files(ctx, own)
            super().parse_args(ctx, [*own, "--", *([] if target is None else [target, *rest])])
            if ctx.params["target"] is None and not ctx.resilient_parsing:
                raise click.UsageError("there is no TARGET: name a script, a module or module:name")
        return []

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, which in (
            ("The workers", options.SETTINGS),
            ("An ASGI app, beside all other options of uvicorn", options.APP),
        ):
            self._format_section(ctx, formatter, title, which)
        rest = [one for one in self.get_params(ctx) if one not in options.SETTINGS and one not in options.APP]
        self._format_section(ctx, formatter, "The command", rest)

    def _format_section(
        self, ctx: click.Context, formatter: click.HelpFormatter, title: str, which: Sequence[click.Parameter]
    ) -> None:
        with formatter.section(title):
            formatter.write_dl([record for one in which if (record := one.get_help_record(ctx)) is not None])

    def _split(self, ctx: click.Context, words: list[str]) -> tuple[list[str], str | None, list[str]]:
        """Returns the options at the head of these words, the target and what follows it."""
        found, _, _ = self._parsed(ctx, words)
        target = found.get("target")
        if not isinstance(target, str):
            return [word for word in words if word != "--"] if words[-1:] == ["--"] else words, None, []
        rest = list(found["args"]) if isinstance(found.get("args"), (list, tuple)) else []
        own = words[: len(words) - len(rest) - 1]
        return own[:-1] if own[-1:] == ["--"] else own, target, rest

    def _parsed(self, ctx: click.Context, words: list[str]) -> Any:
        """Parses words as options, with uvicorn's if there is one that is not ours."""
        try:
            return self.make_parser(ctx).parse_args(list(words))
        except click.NoSuchOption as error:
            if _UVICORN in ctx.meta:
                raise
            if not self._load_uvicorn(ctx):
                hint = "; if it is uvicorn's: pip install aiocluster[web]"
                raise click.NoSuchOption(
                    error.option_name, f"No such option: {error.option_name}{hint}", self._flags(), ctx
                ) from None
            return self.make_parser(ctx).parse_args(list(words))

    def _of_a_member(
        self, ctx: click.Context, own: list[str], target: str, rest: list[str]
    ) -> tuple[list[str], list[str]]:
        """Returns the options of the command, and the words of its own for a target ``module:name``."""
        if not rest:
            return own, rest
        found, _, _ = self._parsed(ctx, own)
        is_app = any(_is_given(found, str(one.name)) for one in (*options.APP, *(ctx.meta.get(_UVICORN) or ())))
        if not is_app:
            if rest[0] == "--":
                return own, rest[1:]
            if not rest[0].startswith("-"):
                return own, rest
            cwd = found.get("cwd")
            if "--factory" not in rest and is_plain_function(target, cwd if isinstance(cwd, str) else None):
                self._warn(ctx, own, target, rest)
                return own, rest
        more, word, _ = self._split(ctx, rest)
        if word is not None:
            raise click.UsageError(
                f"{word!r} after the options of {target} is none; a function's own words follow --: {target} -- …", ctx
            )
        return [*own, *more], []

    def _warn(self, ctx: click.Context, own: list[str], target: str, rest: list[str]) -> None:
        """Keeps a warning about a word that was probably not meant for the target."""
        found, _, _ = self._parsed(ctx, own)
        ours = {
            flag: not one.is_flag
            for one in self.params
            if isinstance(one, click.Option) and one not in options.APP and one.name not in _ALSO_OF_OTHERS
            if not _is_given(found, str(one.name))  # who wrote it in front knows the order
            for flag in (*one.opts, *one.secondary_opts)
        }
        if line := warning(target, rest, ours, own):
            ctx.meta[_WARNINGS] = (line,)

    def _read_files(self, ctx: click.Context, own: list[str]) -> None:
        """Makes TOML the source of what is said nowhere else."""
        if ctx.resilient_parsing:
            return
        found, _, _ = self._parsed(ctx, own)
        path = found.get("config")
        path = path if isinstance(path, str) else os.environ.get("AIOCLUSTER_CONFIG") or None
        place, table = config.read_toml(path)
        if config.unknown(table, self._names(ctx)) and _UVICORN not in ctx.meta:
            self._load_uvicorn(ctx)
        ctx.meta[_PLACE] = place
        ctx.default_map = config.default_map(place, table, self._names(ctx))
        known = {f"AIOCLUSTER_{name.upper()}" for name in self._names(ctx)}
        if _UVICORN not in ctx.meta and _foreign_variables() - known:
            self._load_uvicorn(ctx)

    def _load_uvicorn(self, ctx: click.Context) -> bool:
        """Adds uvicorn's options. Returns whether there are any."""
        found = uvicorn_options.load({str(one.name) for one in super().get_params(ctx)})
        ctx.meta[_UVICORN] = found or []
        return found is not None

    def _names(self, ctx: click.Context) -> dict[str, click.Parameter]:
        """Returns all that may stand in TOML, by each of its names."""
        names: dict[str, click.Parameter] = {}
        for one in self.get_params(ctx):
            if one.name in ("help", "config") or one.name is None:
                continue
            for name in (one.name, *(flag[2:] for flag in one.opts if flag.startswith("--"))):
                names[name.replace("-", "_")] = one
        return names

    def _flags(self) -> list[str]:
        return [flag for one in self.params if isinstance(one, click.Option) for flag in one.opts]


def _is_given(found: Mapping[str, Any], name: str) -> bool:
    """Whether parsed words have this option."""
    return isinstance(found.get(name), (str, bool, list))


_OURS = ("WORKER_ID", "CHANNEL_FD", "SLOT", "KEPT_IN", "CONFIG", "TARGET")


def _foreign_variables() -> set[str]:
    """Returns the variables of the command's form that are no worker's."""
    mine = {f"AIOCLUSTER_{name}" for name in _OURS}
    return {name for name, value in os.environ.items() if name.startswith("AIOCLUSTER_") and value} - mine


@contextmanager
def _errors_of(ctx: click.Context) -> Iterator[None]:
    """Has errors about a value say where it came from."""
    try:
        yield
    except click.UsageError as error:
        error.ctx = error.ctx or ctx
        if not isinstance(error, click.BadParameter):
            raise
        if error.param is not None and (name := error.param.name) is not None and error.param_hint is None:
            match ctx.get_parameter_source(name):
                case ParameterSource.ENVIRONMENT | None:  # None: it could not even be split into several
                    error.param_hint = f"the variable AIOCLUSTER_{name.upper()}"
                case ParameterSource.DEFAULT_MAP:
                    error.param_hint = f"{name.replace('_', '-')} in {ctx.meta[_PLACE]}"
        raise


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
    if (wait := given.get("restart_backoff")) is not None:
        settings["restart"] = _with_backoff(settings.get("restart", RestartPolicy()), wait, ctx)
    watching = {name: ctx.params[name] for name in ("reload", "reload_dirs", "reload_include", "reload_exclude")}
    settings.update(reloading.settings(ctx.params["target"], **watching))
    return RunRequest(
        target=_target(ctx, given),
        settings=ClusterSettings(**settings),  # type: ignore[typeddict-item]
        words=ctx.meta[_WORDS],
        pid_file=ctx.params["pid_file"],
        app_dir=ctx.params["app_dir"],
        log_level=ctx.params["log_level"] or "info",
        log_format=ctx.params["log_format"] or "text",
        warnings=ctx.meta.get(_WARNINGS, ()),
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
        own, target, rest = context.meta[_APART]
    separator = ["--"] if rest and target is not None and _is_member(target) else []
    return [*own, *more, *([] if target is None else [target, *separator, *rest])]


def _source(ctx: click.Context, name: str) -> ParameterSource:
    return ctx.get_parameter_source(name) or ParameterSource.DEFAULT


def _with_backoff(policy: Any, wait: tuple[float, float], ctx: click.Context) -> Any:
    try:
        return replace(policy, backoff=wait) if policy else policy
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"--restart-backoff: {error}", ctx) from None


def _target(ctx: click.Context, given: Mapping[str, Any]) -> str | AsgiApp:
    """Returns the target: an app if an option of one was given. Where it was not for the target, that is an error."""
    target: str = ctx.params["target"]
    uvicorn = {str(one.name) for one in ctx.meta.get(_UVICORN) or ()}
    of_an_app = {str(one.name) for one in options.APP} | uvicorn
    found = {name: value for name, value in given.items() if name in of_an_app}
    if not found:
        return target
    if not _is_member(target):
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


def _is_member(target: str) -> bool:
    """Whether a target is ``module:name``."""
    return ":" in target and os.sep not in target and not target.endswith((".py", ".pyc"))


def _flag(ctx: click.Context, name: str) -> str:
    return next(one.opts[0] for one in ctx.command.get_params(ctx) if one.name == name)
