"""Workers' stdin: the null device, unless the setting ``stdin`` says otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiocluster import Primary
from aiocluster.settings import StartMethod, Stdin

from .inside_streams import read_stdin

pytestmark = pytest.mark.parametrize("start_method", ["spawn", "template"])


async def told(start_method: StartMethod, stdin: Stdin) -> str:
    async with (
        Primary(read_stdin, start_method=start_method, stdin=stdin) as primary,
        primary.events("message") as heard,
    ):
        await primary.fork()
        message: str = (await anext(heard)).message
        return message


@contextmanager
def own_stdin(tmp_path: Path) -> Iterator[None]:
    """Makes descriptor 0 a file with one line. Only within the test: pytest sets the descriptor when a test begins."""
    (tmp_path / "own").write_text("the primary's own\n")
    old = os.dup(0)
    with open(tmp_path / "own") as file:
        os.dup2(file.fileno(), 0)
    yield
    os.dup2(old, 0)
    os.close(old)


async def test_it_is_the_null_device(start_method: StartMethod, tmp_path: Path) -> None:
    with own_stdin(tmp_path):
        assert await told(start_method, None) == ""


async def test_it_is_the_primarys_own_if_wanted(start_method: StartMethod, tmp_path: Path) -> None:
    with own_stdin(tmp_path):
        assert await told(start_method, "inherit") == "the primary's own\n"


async def test_it_is_a_file_or_a_descriptor(start_method: StartMethod, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a line\n")
    with open(tmp_path / "lines", "rb") as file:
        assert await told(start_method, file) == "a line\n"
        file.seek(0)
        assert await told(start_method, file.fileno()) == "a line\n"
