"""Large registries, many who ask at a time, workers that are stopped and killed, and a fork server that counts."""

from __future__ import annotations

import asyncio
import signal

import psutil
import pytest

from aiocluster import Cluster
from tests.support.http import fetch
from tests.support.serving import serving

from .inside_large import PATH, SERIES, serve
from .pages import Page, check_nothing_went_down, scrape

WORKERS = 3


async def complete(cluster: Cluster) -> Page:
    """Scrapes until all workers have answered: on a busy machine, large reports take their time."""
    while True:
        page = await scrape(cluster.metrics_address)
        ages = page.by("aiocluster_report_age_seconds", "slot")
        if len(ages) == WORKERS and not page.by("aiocluster_metrics_errors", "error"):
            return page


@pytest.mark.timeout(180)  # on a busy machine; it takes some ten seconds
async def test_large_registries_through_stops_and_kills() -> None:
    cluster = Cluster(
        serve,
        workers=WORKERS,
        metrics="127.0.0.1:0",
        start_method="template",
        preload=["tests.metrics.inside_large"],
    )
    async with serving(cluster, WORKERS) as address:
        # What the fork server has counted stands there once, not once for each of its workers.
        page = await complete(cluster)
        assert sum(name == "shop_many_total" for name, _ in page) == SERIES
        assert page.at("shop_loads_total") == 1 + WORKERS
        assert page.at("shop_load_seconds_count") == page.at("shop_load_seconds_bucket", le="5.0") == 1
        assert (page.at("shop_load_seconds_bucket", le="1.0"), page.at("shop_load_seconds_sum")) == (0, 2)

        # Many who ask in one worker at the same time.
        assert await fetch(address, "/") == (200, str(SERIES + 2))  # with its HELP and its TYPE

        # A worker is stopped. Those who scrape meanwhile are not kept waiting by each other.
        stopped, *others = cluster.workers.values()
        stopped.kill(signal.SIGSTOP)
        (text,) = set(await asyncio.gather(*(fetch(cluster.metrics_address, "/metrics") for _ in range(20))))
        assert text[0] == 200
        then = Page(text[1])
        assert then.by("aiocluster_report_age_seconds", "slot")[str(stopped.slot)] >= 1
        check_nothing_went_down(page, then)
        await fetch(cluster.metrics_address, "/metrics")
        stopped.kill(signal.SIGCONT)
        while (page := await complete(cluster)).by("aiocluster_report_age_seconds", "slot")[str(stopped.slot)] >= 1:
            pass
        # It has made few reports for all that it was asked for meanwhile, one after the other.
        assert (
            psutil.Process(stopped.pid).num_threads()
            <= max(psutil.Process(other.pid).num_threads() for other in others) + 1
        )

        # Two are killed at once, while a scrape is under way.
        scraping = asyncio.create_task(scrape(cluster.metrics_address))
        await asyncio.sleep(0)
        async with cluster.events("listening") as heard:
            for other in others:
                other.kill(signal.SIGKILL)
            check_nothing_went_down(page, await scraping)
            check_nothing_went_down(page, await scrape(cluster.metrics_address))
            for _ in others:
                await anext(heard)
        page = await complete(cluster)
        assert page.at("shop_loads_total") == 1 + WORKERS + len(others)
        assert page.at("shop_many_total", path=f"{PATH}/0") == 1
