"""``aiocluster completion``: prints what makes a shell complete the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .group import group

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS), metavar="|".join(SHELLS))
def command(shell: str) -> None:
    """Prints the completion of the command for a shell.

    For bash, put this into ~/.bashrc: eval "$(aiocluster completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(group, {}, "aiocluster", "_AIOCLUSTER_COMPLETE").source())
