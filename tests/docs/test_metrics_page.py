"""The page on metrics and its files: they agree, they name numbers that there are, and the app runs."""

from __future__ import annotations

import html
import importlib
import json
import re
from typing import Any

from aiocluster import Cluster
from aiocluster._metrics.page import ERRORS
from aiocluster._primary.ports.waits import BOUNDS, Waits
from aiocluster._supervise.own_numbers import Counts, own_families
from aiocluster.integrations.asgi import AsgiApp
from aiocluster.stats import ClusterStats, WorkerStats
from tests.docs.snippets import DOCS, ROOT, blocks
from tests.metrics.pages import scrape
from tests.support.http import fetch
from tests.support.serving import serving

yaml: Any = importlib.import_module("yaml")

FILES = ROOT / "examples" / "metrics"
_SUFFIXES = re.compile(r"_(?:total|bucket|sum|count)$")


def test_the_files_are_what_the_page_shows() -> None:
    pages = {"how-to/metrics.md": (".py", ".yml"), "how-to/autoscaling.md": (".yaml",)}
    shown = {
        block.title: block.text
        for page, kinds in pages.items()
        for block in blocks(page)
        if block.title.endswith(kinds)
    }
    assert shown.keys() == {path.name for path in FILES.iterdir() if path.suffix in (".py", ".yml", ".yaml")}
    for name, text in shown.items():
        assert (FILES / name).read_text() == text
        if not name.endswith(".py"):
            assert all(yaml.safe_load_all(text))


def test_all_numbers_that_are_named_are_there() -> None:
    families = own_families(ClusterStats((), (), 0, (1, 1)), Counts(), Waits(), 0, {})
    known = {family.name for family in families} | {ERRORS}
    for path in (
        *(path for path in FILES.iterdir() if path.suffix in (".json", ".yaml")),
        DOCS / "reference" / "metrics.md",
    ):
        named = {_SUFFIXES.sub("", name) for name in re.findall(r"\baiocluster_[a-z_]*[a-z]", path.read_text())}
        assert named <= known, path.name
        if path.suffix == ".md":
            assert named == known, "the page tells of each"


def test_types_and_labels_are_as_the_page_says() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text()
    rows = re.findall(r"^### (\w+)\n\n(\w+) · labels: ([^·]*) · unit: \S", page, re.MULTILINE)
    told = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    worker = WorkerStats(1, 0, 4711, None, "online", 0, 0, 0, 0, 0, 0.0, 0.5, 0, 0, 0.0, 0)
    counts = Counts(reload_seconds=1.0)
    families = own_families(ClusterStats((worker,), (), 0, (1, 1)), counts, Waits(), 0, {"0": 1.0})
    wanted = {ERRORS: ("gauge", {"slot", "error"})}
    for family in families:
        samples = list(family.samples)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {name for sample in samples for name, _ in sample.labels} - {"le"}
        wanted[name] = family.type, labels
        for values in ("state", "reason", "bound"):
            for sample in samples:
                assert f"`{dict(sample.labels).get(values, 'low')}`" in page
    assert told == wanted
    assert re.findall(r"[\d.]*\d", page.partition("buckets end at")[2].partition("seconds")[0]) == [*map(str, BOUNDS)]


def test_the_dashboard_is_one() -> None:
    dashboard = json.loads((FILES / "grafana.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    picture = (ROOT / "docs" / "images" / "dashboard.svg").read_text()
    assert re.findall(r'<text class="title"[^>]*>([^<]*)<', picture) == [
        html.escape(panel["title"]) for panel in panels
    ]


async def test_the_app_counts_in_all_workers() -> None:
    app = AsgiApp("shop:app", bind=["127.0.0.1:0"])
    cluster = Cluster(app, workers=2, cwd=FILES, metrics="127.0.0.1:0", start_method="template")
    async with serving(cluster, 2) as address:
        for _ in range(6):
            assert (await fetch(address, "/buy/poetry", "POST"))[0] == 200
        page = await scrape(cluster.metrics_address)
        assert page.at("shop_sold_total", shelf="poetry") == 6
        assert page.total("http_requests_total", handler="/buy/{shelf}") == 6
        status, body = await fetch(address, "/metrics")
        assert status == 200
        assert 'shop_sold_total{shelf="poetry"} 6.0' in body
