"""The page on child processes: its programs run, and its table has a test for each cell."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from aiocluster.child_process import exec_file

from . import test_table

SLOW = r"Executing .* took \d+\.\d+ seconds"
"""What asyncio's debug mode writes when the machine is busy."""

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "child_processes.md").read_text()
FUNCTIONS = ["exec", "exec_file", "spawn", "fork"]
ROWS = {
    "in a shell": "shell",
    "returns": "returns",
    "output is limited": "limit",
    "after `timeout` seconds": "time_out",
    "message channel": "channel",
}


async def test_its_programs_print_what_it_says(tmp_path: Path) -> None:
    programs = dict(re.findall(r'```python title="(.*?)"\n(.*?)```', PAGE, re.DOTALL))
    for name, program in programs.items():
        (tmp_path / name).write_text(program)
    [printed] = re.findall(r"It prints:\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    done = await exec_file(sys.executable, ["-W", "error", "-X", "dev", tmp_path / "main.py"])
    errors = [line for line in done.stderr.splitlines() if not re.fullmatch(SLOW, line)]
    assert (done.stdout, errors, done.code) == (printed, [], 0)


def test_each_cell_of_its_table_has_a_test() -> None:
    table = PAGE[PAGE.index("| | `exec` ") :].partition("\n\n")[0]
    head, _, *rows = [line.strip("|").split("|") for line in table.splitlines()]
    assert [cell.strip(" `") for cell in head[1:]] == FUNCTIONS
    assert [row[0].strip() for row in rows] == ["runs", *ROWS]
    for row in rows[1:]:
        assert all(cell.strip() for cell in row)
        assert len(row) == 1 + len(FUNCTIONS)
    tests = [name for name in vars(test_table) if name.startswith("test_")]
    for word in ROWS.values():
        for function in FUNCTIONS:
            others = [f"test_{other}_" for other in FUNCTIONS if other.startswith(f"{function}_")]
            of_function = [
                name for name in tests if name.startswith(f"test_{function}_") and not name.startswith(tuple(others))
            ]
            assert any(word in name for name in of_function), (function, word)
