"""What Grafana makes of a dashboard's file: its panels, and their queries as Prometheus gets them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Attributes:
        expression: In PromQL, with Grafana's variables.
        legend: What its lines are called, with the labels' names in double braces.
    """

    expression: str
    legend: str

    def filled(self, variables: dict[str, str]) -> str:
        """The expression with its variables replaced, as Grafana does it before it asks Prometheus."""
        return _fill(self.expression, variables)

    def name(self, labels: dict[str, str]) -> str:
        """What a line with these labels is called."""
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), self.legend)


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: What stands above it.
        description: What it says of itself when it is asked.
        unit: Grafana's name of the unit.
        high: Where its axis ends; None: where the values do.
        place: Its column, row, width and height in the grid.
        queries: What it shows.
        is_stepped: Whether a value holds until the next one, instead of a line between the two.
        no_value: What it says when there is nothing to show.
    """

    title: str
    description: str
    unit: str
    high: float | None
    place: tuple[int, int, int, int]
    queries: list[Query]
    is_stepped: bool
    no_value: str


@dataclass(frozen=True)
class Dashboard:
    """A dashboard's file.

    Attributes:
        panels: In the file's order.
        selections: Name and definition of each variable that has a query.
    """

    panels: list[Panel]
    selections: list[tuple[str, str]]

    @classmethod
    def read(cls, path: Path) -> Dashboard:
        content = json.loads(path.read_text())
        variables = [one for one in content["templating"]["list"] if one["type"] == "query"]
        return cls([_panel(one) for one in content["panels"]], [(one["name"], one["definition"]) for one in variables])

    def variables(self, known: dict[str, str]) -> Iterator[tuple[str, str, str]]:
        """Yields name, query and label of each variable: its values are those of that label."""
        for name, definition in self.selections:
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", definition)
            assert found is not None, definition
            yield name, _fill(found[1], known), found[2]


def _fill(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], text)


def _panel(panel: dict[str, Any]) -> Panel:
    defaults, grid = panel["fieldConfig"]["defaults"], panel["gridPos"]
    return Panel(
        panel["title"],
        panel["description"],
        defaults["unit"],
        defaults.get("max"),
        (grid["x"], grid["y"], grid["w"], grid["h"]),
        [Query(target["expr"], target["legendFormat"]) for target in panel["targets"]],
        defaults.get("custom", {}).get("lineInterpolation") == "stepAfter",
        defaults.get("noValue", "No data"),
    )
