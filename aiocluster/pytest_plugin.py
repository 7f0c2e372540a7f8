"""The pytest plugin: the fixture ``cluster`` runs a real cluster of an application. See docs/how-to/testing.md."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing import ClusterProcess, StartCluster

_STARTED = pytest.StashKey["list[tuple[str, ClusterProcess]]"]()


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[StartCluster]:
    """Runs a cluster in a process of its own: ``async with cluster("shop.web:app", workers=2) as c``, or ``with``.

    ``c`` has ``url``, ``addresses``, ``workers``, ``output``, ``reload()`` and ``stop()``; the last two are awaited
    where it was entered by ``async with``. The arguments are those of `aiocluster.Cluster`. What the cluster has
    written is in the report of a test that fails. What still runs at the test's end is stopped.
    """
    from .testing import ClusterProcess

    started = request.node.stash.setdefault(_STARTED, [])

    def start(target: Any = None, **settings: Any) -> ClusterProcess:
        process = ClusterProcess(target, **settings)
        started.append((str(target), process))
        return process

    yield start
    for _, process in started:
        process.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds to the report of a test that has failed what its clusters have written."""
    report = yield
    if report.failed:
        for target, process in item.stash.get(_STARTED, []):
            if output := process.output:
                report.sections.append((f"Cluster {target}", output))
    return report
