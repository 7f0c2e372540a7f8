"""The pages of the reference are complete: API, settings and environment."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module

from aiocluster._processes.environment import OWN, SERVICE_MANAGERS
from tests.docs.snippets import DOCS, ROOT, blocks
from tests.support.programs import environment

MODULES = ("child_process", "scheduling", "stats", "testing", "metrics")
_WHOLE = {"events", "errors"}  # one entry has all of such a module
_TYPES = {"Reason"}  # aliases: they are in the signatures


def documented() -> list[str]:
    """The names in the API pages."""
    pages = (DOCS / "reference" / "api").glob("*.md")
    return [name for page in pages for name in re.findall(r"^::: ([\w.]+)", page.read_text(), re.MULTILINE)]


def source() -> str:
    return "\n".join(path.read_text() for path in (ROOT / "aiocluster").rglob("*.py"))


def _all(module: str) -> list[str]:
    names: list[str] = import_module(module).__all__
    return names


def test_each_public_name_is_on_one_api_page() -> None:
    names = documented()
    assert len(names) == len(set(names))
    last = {name.rpartition(".")[2] for name in names}
    assert last >= _WHOLE
    assert {name for name in _all("aiocluster") if not name.endswith("Error")} <= last
    for module in MODULES:
        found = import_module(f"aiocluster.{module}")
        own = {
            name
            for name in getattr(found, "__all__", vars(found))
            if not name.startswith("_") and getattr(getattr(found, name), "__module__", "").startswith("aiocluster")
        }
        assert own <= last, module


def test_all_events_are_on_their_page() -> None:
    listed = re.search(r"members: \[(.*)\]", (DOCS / "reference" / "api" / "events.md").read_text())
    assert listed is not None
    assert {*listed[1].split(", "), "Address"} | _TYPES == set(_all("aiocluster.events"))


def test_the_page_of_settings_is_up_to_date() -> None:
    env = {name: value for name, value in environment().items() if not name.startswith("AIOCLUSTER_")}
    check = [sys.executable, "-m", "tests.docs.settings_page", "--check"]
    done = subprocess.run(check, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_environment_variables_are_on_that_page() -> None:
    page = (DOCS / "reference" / "settings.md").read_text()
    read = set(re.findall(r'environ(?:\.get|\.pop)?[\[(]"(\w+)"', source()))
    assert {name for name in {*read, *OWN, *SERVICE_MANAGERS} if f"`{name}`" not in page} == set()


def test_each_error_has_its_part_of_the_page() -> None:
    page = (DOCS / "reference" / "errors.md").read_text()
    names = {name for name in _all("aiocluster") if name.endswith("Error")}
    assert {found[1] for found in re.finditer(r"^## (\w+Error)$", page, re.MULTILINE)} == names
    rows = dict(re.findall(r"^\| \[`(\w+)`\]\(#\w+\) \| (.*) \|$", page, re.MULTILINE))
    assert {*rows, "ClusterError"} == names
    errors = import_module("aiocluster.errors")
    for name, row in rows.items():
        bases = {base.__name__ for base in getattr(errors, name).__bases__} - {"ClusterError"}
        assert set(re.findall(r"`(\w+Error)`", row)) == bases, name
    shown = {block.heading: block.text for block in blocks("reference/errors.md") if block.language == "text"}
    assert all(shown[name].startswith(f"{name}: ") for name in names)


def test_error_texts_that_are_not_run_are_in_the_source() -> None:
    texts = source()
    for block in blocks("reference/errors.md"):
        if block.language == "text" and block.note.startswith("not run"):
            _, _, text = block.text.strip().partition(": ")
            assert all(part in texts for part in re.split(r"\d+|…", text)), text


def test_the_list_of_how_tos_has_all() -> None:
    folder = DOCS / "how-to"
    linked = re.findall(r"\((\w+\.md)\)", (folder / "index.md").read_text())
    assert sorted(linked) == sorted(path.name for path in folder.glob("*.md") if path.name != "index.md")
