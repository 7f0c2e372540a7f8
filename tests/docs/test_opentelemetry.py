"""The page on OpenTelemetry: the app's spans and metrics arrive, from each worker under an id of its own."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from aiocluster.events import Address
from tests.docs.snippets import ROOT, titled
from tests.support.http import fetch
from tests.support.otlp import Attributes, collecting
from tests.support.programs import running_command

FOLDER = ROOT / "examples" / "opentelemetry"
WORKERS = 4
SERVER = 2  # a span's kind


def test_the_app_is_what_the_page_shows() -> None:
    assert (FOLDER / "shop.py").read_text() == titled("how-to/opentelemetry.md", "shop.py")


@pytest.mark.timeout(180)
async def test_a_servers_command_line_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that all workers are given alike becomes that of each worker."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=web-1,deployment.environment.name=test")
    command = ["uvicorn", "--app-dir", str(FOLDER), "shop:app", "--port", "0", "--log-level", "warning"]
    answered, spans, metrics = await _collected(monkeypatch, [], command)
    assert spans == metrics == {f"web-1.{worker}": count for worker, count in answered.items()}


@pytest.mark.timeout(180)
async def test_workers_of_a_fork_server_that_has_begun_to_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK is set up before the fork. Its threads run again in each worker, under another id."""
    ours = ["--start-method", "template", "--app-dir", str(FOLDER)]
    answered, spans, metrics = await _collected(monkeypatch, ours, ["shop:app", "--port", "0", "--no-access-log"])
    assert spans == metrics
    assert sorted(spans.values()) == sorted(answered.values())


async def _collected(
    monkeypatch: pytest.MonkeyPatch, ours: list[str], command: list[str]
) -> tuple[Counter[int], Counter[str], Counter[str]]:
    """Runs the command, and stops it when all workers have answered.

    Returns the number of answers by worker, of spans by id, and what the app has counted by id.
    """
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with collecting() as collector:
        options = ["--service_name", "shop", f"--exporter_otlp_endpoint={collector.url}"]
        patient = ["--start-timeout", "120"]  # what a worker imports takes its time on a busy machine
        lenient = ["--exec-arg=-W", "--exec-arg=ignore::ResourceWarning"]  # the exporter closes no sockets
        line = ["-w", str(WORKERS), *patient, *lenient, *ours, "opentelemetry-instrument", *options, *command]
        with running_command(*line) as (_, address):
            answered = await _until_all_have_answered(address)
    spans = Counter(_id(sender) for sender, span in collector.spans if span.kind == SERVER)
    metrics: Counter[str] = Counter()
    for sender, metric in collector.metrics:
        if metric.name == "shop.sold":
            metrics[_id(sender)] = sum(point.as_int for point in metric.sum.data_points)  # the last report counts
    return answered, spans, metrics


async def _until_all_have_answered(address: Address) -> Counter[int]:
    answered: Counter[int] = Counter()
    async with asyncio.timeout(60):
        while len(answered) < WORKERS:
            status, body = await fetch(address, "/buy/poetry", method="POST")
            assert status == 200
            answered[int(body)] += 1
    return answered


def _id(sender: Attributes) -> str:
    assert sender["service.name"] == "shop"
    return sender["service.instance.id"]
