"""The options of ``run``, in one table.

`SETTINGS` has an option for each setting of a `Cluster`: its name is the setting's, and its value is checked by the
setting's own check. So a new setting needs one more line here, or a reason in `NO_OPTION`. `APP` are the options of an
ASGI app. What is in neither is the command's own.

Each option may also come from the environment (``AIOCLUSTER_WORKERS``) and from TOML (``workers = 4``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_args

import click

from ..scheduling import _registry
from ..settings import Loop, Settings, StartMethod, check_setting
from . import values
from .output.configure import LEVELS, LogFormat
from .values import Value

_SECONDS = Value("seconds", values.seconds)
_WHOLE = Value("number", values.whole)
_TEXT = Value("text", values.text)
_DEFAULTS: Mapping[str, Any] = {one.name: one.default for one in fields(Settings)}

NO_OPTION: Mapping[str, str] = {
    "target": "the word TARGET",
    "args": "the words after TARGET",
    "silent": "for programs that read the workers' streams",
    "reload_on_change": "--reload and --reload-dir, in reloading.py",
    "reload_include": "in reloading.py",
    "reload_exclude": "in reloading.py",
    "systemd": "the command always sets it",
}
"""The settings without an option, each with the reason."""


class Option(click.Option):
    """An option of ``run``.

    Args:
        name: The name of its variable, without ``AIOCLUSTER_``, and in TOML.
        flags: How it is written on the command line; without them, as its name.
        help: What ``--help`` says.
        default: What it shows as the default.
        options: See `click.Option`.
    """

    def __init__(self, name: str, *flags: str, help: str, default: str | None = None, **options: Any) -> None:
        options.setdefault("type", _TEXT)
        text = help if default is None else f"{help} [default: {default}]"
        super().__init__([*(flags or (f"--{name.replace('_', '-')}",)), name], help=text, **options)


class SettingOption(Option):
    """The option of a setting.

    Args:
        name: The setting's name.
        flags: See `Option`.
        collect: Makes one value of all those that were given, if the option may be given several times.
        options: See `Option`.
    """

    def __init__(
        self,
        name: str,
        *flags: str,
        collect: Callable[[Any], Any] | None = None,
        default: str | None = None,
        **options: Any,
    ) -> None:
        if default is None and not isinstance(shown := _DEFAULTS[name], (bool, tuple)) and shown is not None:
            default = f"{shown:g}" if isinstance(shown, float) else str(shown)

        def check(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
            if context.get_parameter_source(name) in (None, click.core.ParameterSource.DEFAULT):
                return None
            try:
                return check_setting(name, value if collect is None else collect(value))
            except (TypeError, ValueError) as error:
                raise click.BadParameter(str(error), context, parameter) from None

        super().__init__(name, *flags, default=default, callback=check, multiple=collect is not None, **options)


SETTINGS: list[click.Parameter] = [
    SettingOption(
        "name", metavar="NAME", help="By which the other commands find the cluster; else it is called after TARGET."
    ),
    SettingOption(
        "workers",
        "-w",
        "--workers",
        type=Value("workers", values.workers),
        metavar="N",
        help="How many; auto: one per CPU; LOW:HIGH: as many as the load needs, within these bounds.",
    ),
    SettingOption(
        "scheduling",
        metavar="POLICY",
        type=click.Choice([*_registry.POLICIES, *_registry.BY_KERNEL]),
        default=os.environ.get("AIOCLUSTER_SCHEDULING") or _registry.DEFAULT,
        help=f"Which worker gets a connection: {', '.join([*_registry.POLICIES, *_registry.BY_KERNEL])}.",
    ),
    SettingOption(
        "weights",
        type=Value("weights", values.weights),
        metavar="N,N,…",
        help="One weight per worker. The policy is then weighted_round_robin.",
    ),
    SettingOption(
        "start_method",
        type=click.Choice(get_args(StartMethod)),
        help="template: workers are forked from an interpreter that has imported the target.",
    ),
    SettingOption(
        "preload", metavar="MODULE", collect=tuple, help="A module to import before the target. May be repeated."
    ),
    SettingOption(
        "agents",
        "--agent",
        type=Value("agent", values.pair("NAME=TARGET")),
        metavar="NAME=TARGET",
        collect=dict,
        help="One process that runs TARGET beside the workers, called NAME. May be repeated.",
    ),
    SettingOption(
        "restart",
        type=Value("restart", values.restart),
        metavar="LIMIT/SECONDS|no",
        default="10/60",
        help="How many workers may end unexpectedly in so many seconds before none is replaced; no: none ever is.",
    ),
    SettingOption(
        "backplane",
        metavar="URL",
        help="The Redis by which this cluster is one of a fleet: redis://HOST:PORT/DB and so on. A password is better "
        "given in AIOCLUSTER_BACKPLANE, as others can read command lines.",
    ),
    SettingOption("fleet", metavar="NAME", help="The fleet: all clusters with this name and the same backplane."),
    SettingOption(
        "fleet_lease",
        type=_SECONDS,
        metavar="SECONDS",
        help="After how long a cluster of the fleet is gone that has not been heard of. The same in all of them.",
    ),
    SettingOption("start_timeout", type=_SECONDS, metavar="SECONDS", help="How long a worker may take to come online."),
    SettingOption(
        "graceful_timeout", type=_SECONDS, metavar="SECONDS", help="How long a leaving worker may finish its work."
    ),
    SettingOption(
        "drain_delay",
        type=_SECONDS,
        metavar="SECONDS",
        help="How long all is still served once a stop is asked for.",
    ),
    SettingOption(
        "hang_timeout",
        type=_SECONDS,
        metavar="SECONDS",
        help="Replace a worker whose event loop has been blocked for so long.",
    ),
    SettingOption(
        "max_memory",
        type=Value("size", values.size),
        metavar="SIZE",
        help="Replace a worker that has more memory, such as 512M.",
    ),
    SettingOption("max_lifetime", type=_SECONDS, metavar="SECONDS", help="Replace a worker that is older."),
    SettingOption(
        "max_connections", type=_WHOLE, metavar="N", help="Replace a worker that has taken so many connections."
    ),
    SettingOption("heartbeat", type=_SECONDS, metavar="SECONDS", help="How often a worker reports its load."),
    SettingOption(
        "slow_loop",
        type=_SECONDS,
        metavar="SECONDS",
        help="Tell where in the code an event loop has been blocked for so long.",
    ),
    SettingOption(
        "env",
        type=Value("env", values.pair("NAME=VALUE")),
        metavar="NAME=VALUE",
        collect=dict,
        help="An environment variable of the workers. May be repeated.",
    ),
    SettingOption("health", metavar="ADDRESS", help="Answer /live and /ready there over HTTP, such as 127.0.0.1:9000."),
    SettingOption(
        "metrics", metavar="ADDRESS", help="Answer /metrics there over HTTP, for all workers, such as 127.0.0.1:9100."
    ),
    SettingOption(
        "state",
        metavar="URL",
        default="memory:",
        help="Where the state that workers share is kept: memory:, sqlite:///PATH, redis://… and so on.",
    ),
    SettingOption("cwd", metavar="DIR", help="The working directory of the workers."),
    SettingOption("uid", type=Value("user", values.user), metavar="USER", help="The user that workers run as."),
    SettingOption("gid", type=Value("group", values.group), metavar="GROUP", help="The group that workers run as."),
    SettingOption("stdin", type=click.Choice(["inherit"]), help="Workers read this command's standard input."),
    SettingOption("loop", type=click.Choice(get_args(Loop)), help="The event loop of async targets."),
    SettingOption(
        "pin_cpus", "--pin-cpus/--no-pin-cpus", type=bool, default=None, help="Each worker on a CPU of its own."
    ),
    SettingOption("executable", metavar="PATH", help="The Python interpreter of the workers."),
    SettingOption(
        "exec_args", "--exec-arg", metavar="ARG", collect=tuple, help="An argument of the interpreter, such as -X dev."
    ),
]
"""An option for each setting of a `Cluster`."""

APP: list[click.Parameter] = [
    Option("bind", metavar="ADDRESS", multiple=True, help="HOST:PORT, unix:PATH or fd://N. May be repeated."),
    Option("host", metavar="HOST", default="127.0.0.1", help="The address to listen on."),
    Option("port", type=_WHOLE, metavar="PORT", default="8000", help="The port to listen on."),
    Option("uds", metavar="PATH", help="A Unix socket to listen on."),
    Option("uds_mode", type=Value("mode", values.mode), metavar="MODE", help="Its permissions, such as 660."),
    Option("fd", type=_WHOLE, metavar="N", help="A descriptor of this command to listen on."),
    Option("factory", "--factory/--no-factory", type=bool, help="TARGET is a function that returns the app."),
    Option("ssl_certfile", metavar="PATH", help="The certificate. With it, the app is served by TLS."),
    Option("ssl_keyfile", metavar="PATH", help="Its key."),
    Option("ssl_keyfile_password", metavar="TEXT", help="The key's password."),
    Option("ssl_version", type=_WHOLE, metavar="N", help="The version of TLS, by its number in Python's ssl."),
    Option("ssl_cert_reqs", type=_WHOLE, metavar="N", help="Whether clients need certificates: 0, 1 or 2 (required)."),
    Option("ssl_ca_certs", metavar="PATH", help="The certificates that clients' are checked against."),
    Option("ssl_ciphers", metavar="TEXT", help="The ciphers, as OpenSSL names them."),
]
"""The options of an ASGI app. All other options of uvicorn's own command count for it, too."""

COMMAND: list[click.Parameter] = [
    Option(
        "restart_backoff",
        type=Value("backoff", values.backoff),
        metavar="SHORTEST:LONGEST",
        default="0:5",
        help="The wait before a worker is replaced: no shorter and no longer, in seconds.",
    ),
    Option("app_dir", metavar="DIR", help="Where TARGET is looked for first. The working directory is in any case."),
    Option("env_file", metavar="FILE", multiple=True, help="Variables of the workers, a NAME=VALUE in each line."),
    Option("pid_file", metavar="FILE", help="Has this command's process id while the workers are up."),
    Option(
        "log_level",
        type=click.Choice(LEVELS),
        default="info",
        help="The least severe records that are written to stderr.",
    ),
    Option("log_format", type=click.Choice(get_args(LogFormat)), default="text", help="How records are written."),
    Option("config", metavar="FILE", default="pyproject.toml, [tool.aiocluster]", help="A TOML file of options."),
]
"""The options of the command itself."""
