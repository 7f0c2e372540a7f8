"""Workers of `test_metrics` that count nothing."""

from __future__ import annotations

import asyncio

import aiocluster
from aiocluster import ClusterError, current_worker


async def plain() -> None:
    """Does nothing."""
    await asyncio.sleep(3600)


async def ask() -> None:
    """Asks for the page, and sends the primary what comes of it."""
    try:
        page = await aiocluster.metrics.render()
    except ClusterError as error:
        await current_worker().send(str(error))
    else:
        await current_worker().send(page.content_type)
    await asyncio.sleep(3600)
