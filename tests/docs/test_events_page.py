"""The tables of events in the reference have all events with all their fields, and no others."""

from __future__ import annotations

import dataclasses
import re

import pytest

from aiocluster import events
from aiocluster._events import emitter
from tests.docs.snippets import DOCS

PAGE = "reference/events.md"
CHILDREN = "how-to/child_processes.md"


def table(page: str, heading: str) -> dict[str, set[str]]:
    """The events of the first table below a heading, and their fields."""
    _, _, rest = (DOCS / page).read_text().partition(f"# {heading}\n")
    rows = re.search(r"(?:^\|.*\n)+", rest, re.MULTILINE)
    assert rows is not None, heading
    found: dict[str, set[str]] = {}
    for row in rows[0].splitlines()[2:]:
        name, *_, fields = row.strip("|").split(" | ")
        found[name.strip(" `")] = set(re.findall(r"`(\w+)`", fields))
    return found


@pytest.mark.parametrize(
    ("page", "heading", "union"),
    [
        (PAGE, "All events in the primary", "PrimaryEvent"),
        (PAGE, "All events in a worker", "WorkerEvent"),
        (CHILDREN, "Events of a child process", "ChildEvent"),
    ],
)
def test_a_table_has_all_events_of_its_emitter_and_their_fields(page: str, heading: str, union: str) -> None:
    classes = [getattr(events, name) for name in getattr(emitter, union).split(" | ")]
    expected = {one.name: {field.name for field in dataclasses.fields(one)} for one in classes}
    if page == CHILDREN:  # which have no worker
        expected = {name: fields - {"worker"} for name, fields in expected.items()}
    assert table(page, heading) == expected


def test_all_fields_are_explained() -> None:
    fields = table(PAGE, "All events in the primary") | table(PAGE, "All events in a worker")
    _, _, rest = (DOCS / PAGE).read_text().partition("# Fields\n")
    assert set().union(*fields.values()) == set(re.findall(r"^\| `(\w+)` \|", rest, re.MULTILINE))


def test_a_worker_process_has_the_events_that_the_page_says() -> None:
    primary = table(PAGE, "All events in the primary")
    said = {name for name, fields in primary.items() if "worker" in fields or name == "undelivered"}
    assert said == {getattr(events, name).name for name in emitter.__dict__["WorkerProcessEvent"].split(" | ")}
