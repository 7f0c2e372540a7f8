"""One page of Prometheus metrics for the whole cluster, from ordinary registries.

Workers count with ``prometheus_client`` as they would alone, and so do the libraries that they use::

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        page = await aiocluster.metrics.render(request.headers.get("accept", ""))
        return Response(page, media_type=page.content_type)

The setting ``metrics`` serves the same page from the primary.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .errors import ClusterError

if TYPE_CHECKING:
    from ._supervise.metrics import Metrics

__all__ = ["Page", "render"]


class Page(bytes):
    """A page: its bytes, with their content type.

    Attributes:
        content_type: The value of the header ``Content-Type``.
    """

    content_type: str


async def render(accept: str = "") -> Page:
    """Returns one page with the numbers of all workers and agents, and with aiocluster's own.

    Each worker is asked once, and has a second to answer. One that does not is on the page with its last numbers;
    ``aiocluster_report_age_seconds`` says how old these are. Counters never go down: what ended workers have counted
    stays.

    Call it in a worker, in an agent, or in the process that runs the `Cluster`.

    Args:
        accept: The value of the HTTP header ``Accept``, by which prometheus-client chooses between Prometheus' text
            format and OpenMetrics. Without it, it is the former.

    Raises:
        ClusterError: No cluster runs here, several do, or prometheus-client is not installed where the primary runs.
        ChannelClosedError: In a worker: the primary is gone.
    """
    from ._worker.current import connected_session, current_session, is_worker

    if is_worker():
        session = connected_session() or current_session()
        content_type, body = await session.metrics().page(accept)
    else:
        content_type, body = await _metrics_of_this_process().page(accept)
    page = Page(body)
    page.content_type = content_type
    return page


def _metrics_of_this_process() -> Metrics:
    supervised = sys.modules.get("aiocluster._supervise.metrics")  # else no cluster can run here
    running: list[Metrics] = [] if supervised is None else supervised.running
    if len(running) != 1:
        which = "several clusters run" if running else "no cluster runs"
        raise ClusterError(f"there is no page of metrics to be had: {which} in this process")
    return running[0]
