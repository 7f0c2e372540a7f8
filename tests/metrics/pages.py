"""Pages of metrics as a client reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from aiocluster.events import Address
from tests.support.http import fetch

Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]


class Page(dict[Series, float]):
    """The numbers of a page, by name and labels."""

    def __init__(self, text: str, *, is_openmetrics: bool = False) -> None:
        parse: Any = openmetrics_families if is_openmetrics else text_string_to_metric_families  # one is not typed
        families = parse(text)
        for family in families:
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                assert key not in self
                self[key] = sample.value

    def at(self, name: str, **labels: str) -> float:
        """The number of this series."""
        return self[name, tuple(sorted(labels.items()))]

    def by(self, name: str, label: str) -> dict[str, float]:
        """The numbers of this name, by the value of a label."""
        return {dict(labels)[label]: value for (own, labels), value in self.items() if own == name}

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series of this name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (own, has), value in self.items() if own == name and wanted <= set(has))


def check_nothing_went_down(before: Mapping[Series, float], after: Mapping[Series, float]) -> None:
    """Asserts that no counter, no bucket and no sum has gone down, or gone."""
    for series, value in before.items():
        if series[0].endswith(("_total", "_count", "_sum", "_bucket")):
            assert after[series] >= value, series


async def scrape(address: Address | None) -> Page:
    """Reads the cluster's page."""
    status, body = await fetch(address, "/metrics")
    assert status == 200, body
    return Page(body)
