"""An ASGI app that counts with prometheus-client, as it would in one process.

    aiocluster run --workers 4 --metrics 127.0.0.1:9100 shop:app

Port 9100 has one page for all workers. The app's own ``/metrics`` has the same one.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from prometheus_client import Counter, Gauge
from prometheus_fastapi_instrumentator import Instrumentator

import aiocluster

SOLD = Counter("shop_sold", "Books sold.", ["shelf"])
BASKETS = Gauge("shop_baskets", "Baskets that are open now.", multiprocess_mode="livesum")

app = FastAPI()
Instrumentator().instrument(app)  # http_requests_total and more


@app.post("/buy/{shelf}")
async def buy(shelf: str) -> dict[str, str]:
    SOLD.labels(shelf).inc()
    return {"sold": shelf}


@app.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    page = await aiocluster.metrics.render(request.headers.get("accept", ""))
    return Response(page, media_type=page.content_type)
