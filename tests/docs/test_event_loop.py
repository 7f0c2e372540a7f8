"""The programs of the page on the event loop print what the page says, on both event loops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.snippets import ROOT, Block, blocks
from tests.support.programs import environment

PAGE = "explanation/event_loop.md"
ALL = blocks(PAGE)
PAIRS = list(zip(ALL[::2], ALL[1::2], strict=True))

# Replaces `asyncio.run` for a program that knows nothing of uvloop. (`uvloop.run` calls `asyncio.run` itself.)
ON_UVLOOP = """
import asyncio, runpy, sys, uvloop

def run(main, *, debug=None):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop, debug=debug) as runner:
        return runner.run(main)

asyncio.run = run
runpy.run_path(sys.argv[1], None, "__main__")
"""


def test_every_program_has_its_output_beneath_it() -> None:
    assert [(program.language, output.language) for program, output in PAIRS] == [("python", "text")] * len(PAIRS)
    notes = {program.note for program, _ in PAIRS}
    assert notes == {"", "asyncio's own loop only", "from Python 3.12 on"}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("program", "output"), PAIRS, ids=[program.heading for program, _ in PAIRS])
def test_program(program: Block, output: Block, loop: str, tmp_path: Path) -> None:
    if program.note == "asyncio's own loop only" and loop != "asyncio":
        pytest.skip("the page says that uvloop may print it in another order")
    if program.note == "from Python 3.12 on" and sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")
    if program.note == "from Python 3.12 on" and sys.version_info >= (3, 13) and loop == "uvloop":
        pytest.skip("from Python 3.13 on, uvloop 0.23 gives eager_start=None to asyncio.eager_task_factory")
    script = tmp_path / "program.py"
    script.write_text(program.text)
    how = ["-c", ON_UVLOOP] if loop == "uvloop" else []
    command = [sys.executable, "-W", "error", *how, str(script)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr, done.returncode) == (output.text, "", 0)
