"""The queries of the dashboard and of the autoscalers, asked of a real Prometheus that scrapes a real cluster."""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from aiocluster import Cluster
from tests.docs.dashboard import Dashboard
from tests.docs.inside_dashboard import lack, serve
from tests.docs.prometheus import PROGRAM, Prometheus, Series, prometheus
from tests.docs.snippets import ROOT
from tests.support.http import fetch
from tests.support.serving import serving

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="prometheus is not installed")

yaml: Any = importlib.import_module("yaml")

FILES = ROOT / "examples" / "metrics"
WORKERS = 2
INTERVAL = 0.5  # seconds between two scrapes, and the most that one may take
WINDOW = "5m"  # longer than the test takes
PODS = {"namespace": "default", "pod": "shop-1"}

Ask: TypeAlias = Callable[[str], list[Series]]


@pytest.mark.timeout(180)  # Prometheus takes a second to start, and many on a busy machine
async def test_all_queries(tmp_path: Path) -> None:
    cluster = Cluster(
        serve,
        workers=WORKERS,
        agents={"cron": lack},
        metrics="127.0.0.1:0",
        start_method="template",
        preload=["tests.docs.inside_dashboard"],
    )
    async with serving(cluster, WORKERS) as address, AsyncExitStack() as stack:
        target = str(cluster.metrics_address)
        labels = f'["{target}"]\n        labels: {json.dumps(PODS)}'
        changes = ("15s", f"{INTERVAL * 1000:g}ms"), (f'["{target}"]', labels)
        server = stack.enter_context(prometheus(tmp_path, target, *changes))

        sold = 0

        async def sell() -> None:
            nonlocal sold
            for _ in range(8):
                sold += (await fetch(address, "/"))[0] == 200

        await scraped(server, sold)
        await sell()
        await scraped(server, sold)
        await cluster.reload()
        async with cluster.events("listening") as heard:
            os.kill(next(one.pid for one in cluster.stats().workers if one.slot == 0), signal.SIGKILL)
            await anext(heard)
        await sell()
        at = await scraped(server, sold)

        def ask(query: str) -> list[Series]:
            return server.ask(query, at)

        check_the_counters(ask)
        check_the_dashboard(ask, server, target)
        check_the_rules(ask)
        check_the_scaled_object(ask)


async def scraped(server: Prometheus, sold: int) -> float:
    """Waits for a scrape that all of the cluster has answered, and that knows of so many books. Returns when it was."""
    while True:
        at = time.time()
        found = await asyncio.to_thread(server.ask, '{__name__=~"shop_sold_total|aiocluster_loop_busy_ratio"}', at)
        counts = [one.last for one in found if one.labels["__name__"] == "shop_sold_total"]
        if sum(counts) == sold and len(found) - len(counts) == WORKERS + 1:
            return at
        await asyncio.sleep(INTERVAL)


def check_the_counters(ask: Ask) -> None:
    """Over the reload and the kill no counter was missing from a scrape, and none went down."""
    (up,) = ask(f'up{{job="shop"}}[{WINDOW}]')
    scrapes = {at for at, value in up.values.items() if value}  # one that took longer than the interval has failed
    for one in ask(f'{{job="shop",__name__=~".+_(total|bucket|count|sum)"}}[{WINDOW}]'):
        values = [one.values[at] for at in sorted(one.values)]
        assert values == sorted(values), one.labels
        assert one.values.keys() >= {at for at in scrapes if at > min(one.values)}, one.labels


def check_the_dashboard(ask: Ask, server: Prometheus, target: str) -> None:
    dashboard = Dashboard.read(FILES / "grafana.json")
    values = {name: server.label_values(query, label) for name, query, label in dashboard.variables({"job": "shop"})}
    assert values == {"job": {"shop"}, "instance": {target}}
    instance = re.escape(target).replace("\\", "\\\\")  # as Grafana does it in a query for Prometheus
    variables = {"job": "shop", "instance": instance, "__rate_interval": WINDOW}
    for panel in dashboard.panels:
        shown = [(query.name(one.labels), one.last) for query in panel.queries for one in ask(query.filled(variables))]
        names = [name for name, _ in shown]
        assert len(names) >= len(panel.queries), panel.title
        assert len(set(names)) == len(names), names
        assert all(name == name.strip() and "  " not in name for name in names), names
        assert not any(math.isnan(value) for _, value in shown), panel.title
        if panel.title == "Workers and agents that ended unexpectedly":
            assert {name: value for name, value in shown if value} == {"killed": 1}
        if panel.title == "What the page lacks":
            assert all(name.startswith(f"{target} slot cron: ") for name in names), names


def check_the_rules(ask: Ask) -> None:
    """As Prometheus Adapter fills in its templates."""
    (rule,) = yaml.safe_load((FILES / "rules.yaml").read_text())["rules"]
    series = ask(rule["seriesQuery"])
    assert {one.labels["__name__"] for one in series} == {"aiocluster_loop_busy_ratio"}
    assert set(rule["resources"]["overrides"]) == PODS.keys() <= series[0].labels.keys()
    query = rule["metricsQuery"]
    matchers = 'namespace="default",pod=~"shop-1|shop-2"'
    for name, value in {"Series": "aiocluster_loop_busy_ratio", "LabelMatchers": matchers, "GroupBy": "pod"}.items():
        query = query.replace(f"<<.{name}>>", value)
    (pod,) = ask(query)
    assert pod.labels == {"pod": "shop-1"}
    shares = [one.last for one in series if one.labels["slot"] != "cron"]
    assert len(shares) == WORKERS
    assert min(shares) <= pod.last <= max(shares)
    scaler = yaml.safe_load((FILES / "hpa.yaml").read_text())
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == rule["name"]["as"]


def check_the_scaled_object(ask: Ask) -> None:
    """KEDA takes one element, and no NaN."""
    triggers = yaml.safe_load((FILES / "keda.yaml").read_text())["spec"]["triggers"]
    for trigger in triggers:
        (found,) = ask(trigger["metadata"]["query"])
        assert found.last >= 0
    nobody_came = triggers[1]["metadata"]["query"].replace('"shop"', '"none"')
    assert [one.last for one in ask(nobody_came)] == [0]
    assert ask(triggers[0]["metadata"]["query"].replace('"shop"', '"none"')) == []
