"""One page for all workers: what it says through reloads, deaths, blocked loops and broken collectors."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket

import pytest

import aiocluster
from aiocluster import Cluster, ClusterError, Primary, StartupError
from tests.support.http import fetch
from tests.support.serving import serving

from .inside_metrics import serve
from .inside_plain import ask, plain
from .pages import Page, check_nothing_went_down, scrape


async def test_a_life_of_a_web_application(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(
        serve,
        workers=4,
        metrics="127.0.0.1:0",
        loop="asyncio",  # the example's workers run on uvloop (tests/docs/test_metrics_page.py)
        start_method="template",
        preload=["tests.metrics.inside_metrics"],
    )
    async with serving(cluster, 4) as address:
        counted = 0
        is_over = False

        async def load() -> None:
            nonlocal counted
            while not is_over:
                status, _ = await fetch(address, "/buy")
                assert status == 200
                counted += 1

        pages = [await scrape(cluster.metrics_address)]

        async def watch() -> None:
            while not is_over:
                pages.append(await scrape(cluster.metrics_address))
                check_nothing_went_down(*pages[-2:])

        async with asyncio.TaskGroup() as group:
            for task in (load, load, load, watch):
                group.create_task(task())
            for _ in range(2):
                await cluster.reload()
            is_over = True
        assert counted > 0

        # What clients have counted, after two reloads.
        page = await scrape(cluster.metrics_address)
        assert page.total("http_requests_total", handler="/buy") == counted
        assert page.at("shop_seen_total", method="GET") == counted
        assert page.at("shop_took_seconds_bucket", le="1.0") == counted
        assert page.at("shop_took_seconds_sum") == 0.25 * counted
        assert page.at("aiocluster_connection_wait_seconds_count") >= counted
        assert page.total("aiocluster_connections_taken_total") == page.at("aiocluster_connection_wait_seconds_count")
        assert page.at("aiocluster_reload_seconds") > 0
        assert page.at("shop_busy") == 0
        assert page.at("shop_build_info", version="1.2") == 1
        assert page.by("shop_own", "slot") == dict.fromkeys("0123", 7.0)
        assert page.by("aiocluster_workers", "state")["listening"] == 4
        assert set(page.by("aiocluster_connections", "slot")) == set("0123")
        depths = page.by("shop_depth", "slot")
        assert all(depth in (0, 10 + int(slot)) for slot, depth in depths.items())

        # The same page from a worker, with exemplars.
        status, body = await fetch(address, "/metrics", accept="application/openmetrics-text; version=1.0.0")
        assert status == 200
        assert "# {trace=" in body
        assert Page(body, is_openmetrics=True).at("shop_seen_total", method="GET") == counted

        # A worker is killed: nothing that was on a page is lost.
        before = await scrape(cluster.metrics_address)
        victim = next(iter(cluster.workers.values()))
        async with cluster.events("listening") as heard:
            victim.kill(signal.SIGKILL)
            await victim.wait()
            after = await scrape(cluster.metrics_address)
            check_nothing_went_down(before, after)
            assert after.by("aiocluster_restarts_total", "reason")["killed"] == 1
            await anext(heard)

        # A blocked one's last numbers are used, and marked.
        blocks = asyncio.create_task(fetch(address, "/block/2.5"))
        while (
            max((page := await scrape(cluster.metrics_address)).by("aiocluster_report_age_seconds", "slot").values())
            < 0.5
        ):
            assert not blocks.done()
        check_nothing_went_down(after, page)
        await blocks

        # An own collector that raises in one worker: said once, its last numbers stay.
        assert (await fetch(address, "/fail"))[0] == 200
        with caplog.at_level(logging.WARNING, "aiocluster.metrics"):
            caplog.clear()
            for _ in range(2):
                page = await scrape(cluster.metrics_address)
                assert page.by("shop_own", "slot") == dict.fromkeys("0123", 7.0)
                (error,) = page.by("aiocluster_metrics_errors", "error")
                assert "the database is gone" in error
        assert len(caplog.records) == 1


async def test_without_prometheus_client_in_workers_there_are_the_clusters_own() -> None:
    async with Cluster(plain, workers=1, agents={"cron": ask}, metrics="127.0.0.1:0") as cluster:
        page = await scrape(cluster.metrics_address)
        assert page.by("aiocluster_memory_bytes", "slot").keys() == {"0", "cron"}
        assert not any(name.startswith("process_") for name, _ in page)
        here = await aiocluster.metrics.render()
        assert here.content_type.startswith("text/plain")
        assert Page(here.decode()).by("aiocluster_workers_wanted", "bound") == {"low": 1, "high": 1}
        assert (await fetch(cluster.metrics_address, "/"))[0] == 404

        with socket.create_server(("127.0.0.1", 0)) as taken:
            with pytest.raises(StartupError, match=r"^metrics: 127\.0\.0\.1:\d+ is in use; [^\n]*$"):
                async with Cluster(plain, workers=1, metrics=f"127.0.0.1:{taken.getsockname()[1]}"):
                    pass
    with pytest.raises(ClusterError, match="no cluster runs in this process"):
        await aiocluster.metrics.render()


async def test_a_primary_has_no_page() -> None:
    async with Primary(ask) as primary:
        worker = await primary.fork()
        event = await worker.wait_for("message")
        assert event.message == "there is no page: a Primary has none, only a Cluster"
