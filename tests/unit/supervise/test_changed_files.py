"""Which changed files count."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiocluster._supervise.changed_files import ChangedFiles, in_words


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("app.py", True),
        ("shop/web.py", True),
        ("shop/page.html", True),  # included
        ("shop/page.txt", False),
        ("config.toml", True),  # named
        ("shop/config.toml", False),
        ("tests/test_web.py", False),  # excluded
        ("shop/generated_web.py", False),  # excluded
        ("shop/tests.py", True),
        (".venv/lib/module.py", False),
        ("env/lib/python3.13/site-packages/module.py", False),
        ("venv/bin/activate_this.py", False),
        (".git/hooks/hook.py", False),
        ("shop/__pycache__/web.py", False),
        ("shop/.#web.py", False),
        ("shop/#web.py#", False),
        ("shop/web.py~", False),
        ("shop/.web.py.swp", False),
        ("shop/web.pyc", False),
    ],
)
def test_what_counts(tmp_path: Path, path: str, counts: bool) -> None:
    (tmp_path / "config.toml").touch()
    files = ChangedFiles([tmp_path, tmp_path / "config.toml"], ["*.html"], ["tests", "generated_*"])
    assert files.counts(str(tmp_path / path)) is counts


def test_a_project_may_stand_in_a_folder_that_would_not_count(tmp_path: Path) -> None:
    project = tmp_path / ".work" / "node_modules"
    project.mkdir(parents=True)
    files = ChangedFiles([project])
    assert files.counts(str(project / "app.py"))
    assert not files.counts(str(tmp_path / "app.py"))


def test_what_is_watched_is_watched_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "x.toml").touch()
    files = ChangedFiles([tmp_path / "a" / "b", tmp_path / "a", tmp_path / "a", tmp_path / "ab" / "x.toml"])
    assert sorted(files.watched) == [str(tmp_path / "a"), str(tmp_path / "ab")]


def test_what_is_said(tmp_path: Path) -> None:
    paths = [str(tmp_path / "shop" / name) for name in ("a.py", "b.py", "c.py", "d.py", "e.py")]
    assert in_words(paths[:1], str(tmp_path)) == "shop/a.py"
    assert in_words(paths[:1], str(tmp_path / "shop" / "sub")) == paths[0]
    assert in_words(paths, str(tmp_path / "shop")) == "a.py, b.py, c.py and 2 more"
