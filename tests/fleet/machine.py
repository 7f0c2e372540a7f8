"""A cluster in a process of its own, as on another machine: ``python -m tests.fleet.machine URL LEASE JOURNAL``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.fleet.runs import cluster


async def main(url: str, lease: str, journal: str) -> None:
    async with cluster(url, fleet_lease=float(lease), journal=Path(journal)) as running:
        await running.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
