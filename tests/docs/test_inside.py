"""The programs and commands of the pages on looking inside and on logging."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.snippets import blocks, titled
from tests.support.background import place
from tests.support.programs import environment, listening_address


@pytest.mark.parametrize(("page", "title"), [("how-to/inside.md", "slow.py"), ("how-to/logging.md", "shop.py")])
def test_programs_print_what_the_page_says(page: str, title: str, tmp_path: Path) -> None:
    (tmp_path / title).write_text(titled(page, title))
    command = [sys.executable, "-W", "error", title]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.returncode) == (titled(page, "output"), 0), done.stderr


@pytest.mark.timeout(180)
def test_commands_show_what_the_page_says(tmp_path: Path) -> None:
    with place() as here:
        (here.folder / "shop.py").write_text(titled("how-to/inside.md", "shop.py"))
        for block in [block for block in blocks("how-to/inside.md") if block.language == "console"]:
            commands = block.text.split("$ aiocluster ")
            assert commands[0] == ""
            for command, *told in (command.splitlines() for command in commands[1:]):
                shown = here.shows(*command.split())
                if told:
                    assert shown.split()[:2] == told[0].split()[:2]
        assert (here.folder / "shop-1.svg").exists()
        assert re.search(r"blocked for 0\.\d\d s, at shop\.py:6 in quote", here.log.read_text())


def test_the_commands_log_has_the_workers_records(tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(titled("how-to/logging.md", "web.py"))
    (block,) = [block for block in blocks("how-to/logging.md") if block.language == "console"]
    command, told = block.text.removeprefix("$ aiocluster ").splitlines()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "aiocluster", *command.split()],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process, process.stderr as stderr:
        try:
            listening_address(process.pid)
        finally:
            process.terminate()
        log = stderr.read()
    assert told.partition(" 0 |")[2] in log
