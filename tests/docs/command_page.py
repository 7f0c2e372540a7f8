"""The page of the documentation that has the help of all commands.

``python -m tests.docs.command_page`` writes it; with ``--check`` it says whether the page is up to date.
"""

from __future__ import annotations

import sys

import click

from aiocluster._cli.group import COMMANDS, group
from tests.docs.snippets import GUIDE

PAGE = GUIDE / "command_reference.md"
_WIDTH = 100
_HEAD = """\
# All commands and options

This page is what `aiocluster --help` and `aiocluster COMMAND --help` say. [The command](command.md) tells what belongs
to whom, and where options come from.
"""


def page() -> str:
    """Returns the page as it should be."""
    context = _context(group, "aiocluster", None)
    sections = [_section(context)]
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        sections.append(_section(_context(command, name, context)))
    return "".join([_HEAD, *sections])


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(
        command, parent=parent, info_name=name, terminal_width=_WIDTH, help_option_names=["-h", "--help"]
    )


def _section(context: click.Context) -> str:
    return f"\n## `{context.command_path}`\n\n```text\n{context.get_help()}\n```\n"


def main() -> None:
    """Writes the page, or checks it."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        sys.exit(f"{PAGE} is out of date: python -m tests.docs.command_page")


if __name__ == "__main__":
    main()
