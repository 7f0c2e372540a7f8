"""What runs in the workers of `test_metrics`."""

from __future__ import annotations

import time

import uvicorn
from fastapi import FastAPI, Request, Response
from prometheus_client import REGISTRY, Counter, Enum, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily
from prometheus_fastapi_instrumentator import Instrumentator

import aiocluster
from aiocluster import current_worker

SEEN = Counter("shop_seen", "Requests.", ["method"])
TOOK = Histogram("shop_took_seconds", "Time.", buckets=(0.1, 1.0))
BUSY = Gauge("shop_busy", "Requests now.", multiprocess_mode="livesum")
LAST = Gauge("shop_last", "Set last.", multiprocess_mode="mostrecent")
DEPTH = Gauge("shop_depth", "For each worker.")
BUILD = Info("shop_build", "What runs.")
MOOD = Enum("shop_mood", "How it is.", states=["calm", "busy"])

BUILD.info({"version": "1.2"})


class Own:
    """A collector of the application's own, which fails when told."""

    fails = False

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> list[GaugeMetricFamily]:
        if self.fails:
            raise LookupError("the database is gone")
        return [GaugeMetricFamily("shop_own", "An own collector's.", 7)]


OWN = Own()
REGISTRY.register(OWN)

app = FastAPI()
Instrumentator().instrument(app)


@app.get("/buy")
async def buy() -> dict[str, int | None]:
    worker = current_worker()
    SEEN.labels("GET").inc(exemplar={"trace": str(worker.slot)})
    TOOK.observe(0.25)
    DEPTH.set(10 + (worker.slot or 0))
    LAST.set(worker.id)
    MOOD.state("busy")
    return {"slot": worker.slot, "pid": worker.pid}


@app.get("/block/{seconds}")
async def block(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251


@app.get("/fail")
async def fail() -> None:
    OWN.fails = True


@app.get("/metrics")
async def metrics(request: Request) -> Response:
    page = await aiocluster.metrics.render(request.headers.get("accept", ""))
    return Response(page, media_type=page.content_type)


async def serve() -> None:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off")
    await uvicorn.Server(config).serve()
