"""All pages do what they say: each block of each page runs, or says why not."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.docs.session import command, missing_programs, named_tests, run_elsewhere, steps
from tests.docs.snippets import DOCS, ROOT, blocks

PAGES = [*sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")), "../README.md"]
HERE = [page for page in PAGES if run_elsewhere(page) is None]
WITH_BLOCKS = [page for page in HERE if blocks(page)]


@pytest.mark.parametrize("page", HERE)
def test_each_block_runs_or_says_why_not(page: str) -> None:
    steps(page)


@pytest.mark.parametrize("page", PAGES)
def test_what_runs_its_blocks_exists(page: str) -> None:
    for name in named_tests(page):
        path, _, function = name.partition("::")
        assert (ROOT / path).exists(), name
        if function:
            tree = ast.parse((ROOT / path).read_text())
            assert function in {getattr(one, "name", "") for one in tree.body}, name


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_page(page: str, tmp_path: Path) -> None:
    if missing := missing_programs(page):
        pytest.skip(f"{' and '.join(missing)} not installed")
    done = subprocess.run(command(page), cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr + done.stdout
