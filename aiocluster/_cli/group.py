"""The command ``aiocluster`` itself: which sub-commands there are."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from .._did_you_mean import did_you_mean

COMMANDS = {
    "run": "Run a script, a module, a function or an ASGI app in several workers that share their ports.",
    "start": "Run one in the background, under a name; or start it again.",
    "list": "Show the clusters: what runs, and what is remembered.",
    "describe": "Show all that is known of one, and of its workers.",
    "top": "Watch clusters and their workers live; reload, scale and stop them by a key.",
    "tasks": "Show the asyncio tasks of a worker, and what each waits for.",
    "stacks": "Show where all threads and tasks of a worker are.",
    "profile": "Measure where a worker's time goes, as a flame graph.",
    "logs": "Show what one in the background has written.",
    "reload": "Replace its workers one by one, without losing a connection.",
    "scale": "Change how many workers it has.",
    "restart": "Stop it, and start it anew.",
    "stop": "Stop it, after what is in flight.",
    "delete": "Stop it, and forget it.",
    "save": "Save what runs now, to be started again later.",
    "startup": "Show a systemd unit that starts what was saved.",
    "completion": "Print the completion of this command for bash, zsh or fish.",
}
"""The sub-commands, each with the line that ``--help`` shows. ``NAME`` is ``command`` of the module ``_cli.NAME``."""


class Group(click.Group):
    """The sub-commands of `COMMANDS`. Each is imported when it is used, so that ``--help`` imports none of them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"{__package__}.{name}").command
        return command

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if arguments[0] not in COMMANDS and not arguments[0].startswith("-"):
            context.fail(f"there is no command {arguments[0]!r}{did_you_mean(arguments[0], COMMANDS)}")
        return super().resolve_command(context, arguments)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aiocluster", message="%(prog)s %(version)s")
def group(**options: Any) -> None:
    """Runs asyncio programs on all cores."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command. The exit status is 0, 1 if the workers failed, or 2 if the arguments are invalid."""
    group.main(None if arguments is None else list(arguments), prog_name="aiocluster")
    raise SystemExit(0)  # not reached: click exits
