"""Real clusters for tests: `ClusterProcess`, which the pytest fixture ``cluster`` makes. See docs/how-to/testing.md.

pytest loads the plugin (`aiocluster.pytest_plugin`) by itself where aiocluster is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import exports as _exports

if TYPE_CHECKING:
    # isort: off
    from ._process import ClusterProcess as ClusterProcess, RunningCluster as RunningCluster
    from ._process import RunningClusterSync as RunningClusterSync, StartCluster as StartCluster
else:
    __getattr__, __dir__, __all__ = _exports(
        __name__, {"._process": "ClusterProcess RunningCluster RunningClusterSync StartCluster"}
    )
