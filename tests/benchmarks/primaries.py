"""The primaries of P1 to P4 and P8: bare, or with a page of metrics and loops that are watched."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Unpack

from .calls import counting
from .own_process import stdin_closed, target

if TYPE_CHECKING:
    from aiocluster import Primary
    from aiocluster.settings import PrimarySettings

METRICS = "AIOCLUSTER_BENCH_METRICS"
"""Where the page is: ``127.0.0.1:9100``. Empty: there is none, but the workers have prometheus-client imported as they
have with one. Where it is not set, they haven't."""

SLOW_LOOP = 0.25
"""The setting ``slow_loop`` of those that have the page."""


@asynccontextmanager
async def primary_of(
    worker: Callable[..., object], *arguments: str, **settings: Unpack[PrimarySettings]
) -> AsyncIterator[Primary]:
    """A primary whose workers run this module-level function."""
    from aiocluster import Primary  # not in every process that is measured

    where = os.environ.get(METRICS)
    async with AsyncExitStack() as stack:
        if where is None:
            settings["args"] = arguments
            yield await stack.enter_async_context(Primary(target(worker), **settings))
            return
        settings["args"] = [target(worker), *arguments]
        if where:
            settings["slow_loop"] = SLOW_LOOP
        primary = Primary(target(with_registry), **settings)
        if where:
            await _serve_page(primary, where, stack)
        else:
            await stack.enter_async_context(primary)
        yield primary


async def serve_with(worker: Callable[..., object], workers: int) -> None:
    """Say the port when so many workers listen, and serve until told to end."""
    async with primary_of(worker) as primary:
        ports = set()
        for _ in range(workers):
            listening = await (await primary.fork()).wait_for("listening")
            ports.add(listening.address.port)
        print(json.dumps({"port": ports.pop()}), flush=True)
        with counting("primary"):
            await stdin_closed()
        await primary.disconnect()


def with_registry(worker: str, *arguments: str) -> Any:
    """In a worker of an application that counts: what prometheus-client counts by itself is there."""
    import prometheus_client  # noqa: F401

    return resolve_name(worker)(*arguments)


async def _serve_page(primary: Primary, where: str, stack: AsyncExitStack) -> None:
    """Enters the primary, and serves its page, put together as `Cluster` does it."""
    from aiocluster._supervise.http_answer import Content
    from aiocluster._supervise.http_place import HttpPlace
    from aiocluster._supervise.metrics import Metrics
    from aiocluster.stats import ClusterStats

    async def page(accept: str) -> Content:
        return Content(HTTPStatus.OK, *await metrics.page(accept))

    metrics = Metrics(primary, lambda: ClusterStats(*primary._stats(), 0, (1, 1)))
    place = HttpPlace("metrics", {"/metrics": page})
    stack.push_async_callback(metrics.end)
    stack.push_async_callback(place.end)
    await stack.enter_async_context(primary)
    metrics.begin()
    await place.begin(where)
    metrics.want()
