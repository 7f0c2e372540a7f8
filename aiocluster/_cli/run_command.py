"""The command line of ``run``: `RunCommand` finds out whose each word is, and where the options come from.

Which words are whose:

========================  ==========================================================================================
TARGET                    what follows it
========================  ==========================================================================================
a script, a module        its own, as with ``python`` and ``python -m``
``module:name``           options of ``run`` and uvicorn's; but the function's own where the first word is none, or is
                          ``--``, or where the source says that it is a plain function (`is_plain_function`). After an
                          option of an app, such as ``--factory``, it is an app, which has no words of its own
opentelemetry-instrument  its options; then TARGET, for which the same holds (`instrument`)
========================  ==========================================================================================

What ``run`` is told comes from the command line, else from ``AIOCLUSTER_…``, else from TOML.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
from click.core import ParameterSource

from .._primary.target import is_plain_function
from . import config, instrument, options, uvicorn_options
from .servers import warning

_ALSO_OF_OTHERS = frozenset(["config", "env", "env_file", "help", "log_format", "log_level", "name", "version"])
"""Options that many programs have, so that nobody is surprised to find them behind a script."""


@dataclass(slots=True)
class CommandLine:
    """What `RunCommand` has found out beside the values of options.

    Attributes:
        words: All words.
        own: Those that are options of the command.
        target: The target; None: there is none.
        rest: What is the target's own.
        warnings: Lines about words that probably mean something else.
        place: Where TOML came from.
        uvicorn: uvicorn's options, once they have been asked for. Empty: uvicorn is not installed.
        instrument: ``opentelemetry-instrument`` and its options, if they stand in front of the target.
    """

    words: tuple[str, ...] = ()
    own: list[str] = field(default_factory=list)
    target: str | None = None
    rest: list[str] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    place: str = ""
    uvicorn: list[click.Parameter] | None = None
    instrument: list[str] = field(default_factory=list)


def line_of(ctx: click.Context) -> CommandLine:
    """Returns what is known of the command line of this context."""
    found: CommandLine = ctx.meta.setdefault(__name__, CommandLine())
    return found


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
        return [*super().get_params(ctx), *(line_of(ctx).uvicorn or ())]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        line = line_of(ctx)
        line.words = tuple(args)
        with _errors_of(ctx):
            own, target, rest = self._split(ctx, args)
            if target is not None and instrument.names_it(target):
                own, target, rest = self._behind_instrument(ctx, own, target, rest)
            if target is not None and is_member(target):
                own, rest = self._of_a_member(ctx, own, target, rest)
            elif target is not None:
                self._warn(ctx, own, target, rest)
            line.own, line.target, line.rest = own, target, rest
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

    def _behind_instrument(
        self, ctx: click.Context, own: list[str], word: str, rest: list[str]
    ) -> tuple[list[str], str, list[str]]:
        """Returns the options, the target and what follows it, where ``opentelemetry-instrument`` is the first word."""
        options, words = instrument.apart(rest)
        line_of(ctx).instrument = [word, *options]
        if not words:
            raise click.UsageError(f"there is no TARGET behind {word}: name a server, a script or an app", ctx)
        return own, words[0], words[1:]

    def _parsed(self, ctx: click.Context, words: list[str]) -> Any:
        """Parses words as options, with uvicorn's if there is one that is not ours."""
        try:
            return self.make_parser(ctx).parse_args(list(words))
        except click.NoSuchOption as error:
            if line_of(ctx).uvicorn is not None:
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
        is_app = any(_is_given(found, str(one.name)) for one in (*options.APP, *(line_of(ctx).uvicorn or ())))
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
        if line := warning(target, rest, ours, [*own, *line_of(ctx).instrument]):
            line_of(ctx).warnings = (line,)

    def _read_files(self, ctx: click.Context, own: list[str]) -> None:
        """Makes TOML the source of what is said nowhere else."""
        if ctx.resilient_parsing:
            return
        found, _, _ = self._parsed(ctx, own)
        path = found.get("config")
        path = path if isinstance(path, str) else os.environ.get("AIOCLUSTER_CONFIG") or None
        place, table = config.read_toml(path)
        if config.unknown(table, self._names(ctx)) and line_of(ctx).uvicorn is None:
            self._load_uvicorn(ctx)
        line_of(ctx).place = place
        ctx.default_map = config.default_map(place, table, self._names(ctx))
        known = {f"AIOCLUSTER_{name.upper()}" for name in self._names(ctx)}
        if line_of(ctx).uvicorn is None and _foreign_variables() - known:
            self._load_uvicorn(ctx)

    def _load_uvicorn(self, ctx: click.Context) -> bool:
        """Adds uvicorn's options. Returns whether there are any."""
        found = uvicorn_options.load({str(one.name) for one in super().get_params(ctx)})
        line_of(ctx).uvicorn = found or []
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
                    error.param_hint = f"{name.replace('_', '-')} in {line_of(ctx).place}"
        raise


def is_member(target: str) -> bool:
    """Whether a target is ``module:name``."""
    return ":" in target and os.sep not in target and not target.endswith((".py", ".pyc"))
