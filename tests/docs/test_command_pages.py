"""The pages about the command: its help is up to date, and all that they tell people to type exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from aiocluster._cli.group import COMMANDS, group
from aiocluster._cli.request import parse_run
from tests.docs.snippets import DOCS, ROOT
from tests.support.programs import environment

PAGES = ("moving/uvicorn.md", "moving/gunicorn.md", "moving/pm2.md")
_ROW = re.compile(r"^\| (?P<theirs>.*) \| (?P<ours>.*) \|$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


def rows(page: str) -> list[tuple[list[str], list[str]]]:
    """Returns the code in both columns of each row."""
    found = [
        (_CODE.findall(row["theirs"]), _CODE.findall(row["ours"])) for row in _ROW.finditer((DOCS / page).read_text())
    ]
    assert len(found) > 20
    return found


def parse(line: str) -> None:
    """Parses a command line of ours; raises what the command would say."""
    program, name, *words = shlex.split(line)
    assert program == "aiocluster"
    if name in ("run", "start") and words[0] not in ("shop", "--saved"):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if name == "start":
            words = command.make_context(name, words).params["words"]
        parse_run(words)
    else:
        command = group.get_command(click.Context(group), name)
        assert command is not None, name
        command.make_context(name, words)


@pytest.fixture
def in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that has the files which the lines name."""
    for name in list(os.environ):
        if name.startswith("AIOCLUSTER_"):
            monkeypatch.delenv(name)
    (tmp_path / "src").mkdir()
    (tmp_path / ".env").write_text("NAME=VALUE\n")
    (tmp_path / "shop.toml").write_text("workers = 4\n")
    for name in ("log.ini", "log.json"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_our_column_parses(page: str, in_a_project: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for _, ours in rows(page):
        for code in ours:
            if code.startswith("aiocluster "):
                parse(code)
            elif code.startswith("-"):
                parse(f"aiocluster run shop.web:app {code}")
            elif found := re.fullmatch(r"(AIOCLUSTER_\w+)=(.*)", code):
                with monkeypatch.context() as patch:
                    patch.setenv(found[1], found[2])
                    parse("aiocluster run shop.web:app")


def test_their_options_exist_in_uvicorn() -> None:
    from uvicorn.main import main

    flags = {flag for option in main.params for flag in (*option.opts, *option.secondary_opts)}
    used = {
        word for theirs, _ in rows("moving/uvicorn.md") for code in theirs for word in code.split() if word[0] == "-"
    }
    assert {word for word in used if word.startswith("--")} <= flags


def test_a_line_that_is_wrong_does_not_parse(in_a_project: None) -> None:
    for line in ("aiocluster run shop.web:app --wrokers 4", "aiocluster list --jsn", "aiocluster run -w x shop.py"):
        with pytest.raises(click.UsageError):
            parse(line)


def test_the_page_of_all_commands_is_up_to_date() -> None:
    env = {name: value for name, value in environment().items() if not name.startswith("AIOCLUSTER_")}
    check = [sys.executable, "-m", "tests.docs.command_page", "--check"]
    done = subprocess.run(check, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_command_has_a_help_line_of_its_own() -> None:
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        assert command.help
