"""An ASGI app that counts with OpenTelemetry's own API, as it would in one process.

    aiocluster run --workers 4 opentelemetry-instrument --service_name shop uvicorn shop:app

Spans of its requests come from opentelemetry-instrumentation-fastapi.
"""

from __future__ import annotations

from fastapi import FastAPI
from opentelemetry import metrics

import aiocluster

SOLD = metrics.get_meter("shop").create_counter("shop.sold", unit="{book}", description="Books sold.")

app = FastAPI()


@app.post("/buy/{shelf}")
async def buy(shelf: str) -> int:
    """Returns which worker has sold it."""
    SOLD.add(1, {"shelf": shelf})
    return aiocluster.current_worker().id
