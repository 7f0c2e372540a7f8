"""How the pure modules are tested: without a process, a socket or an event loop."""

from __future__ import annotations

from hypothesis import settings

# For nox -s mutation: the same examples each time, few of them, and no complaint about time.
settings.register_profile("mutation", derandomize=True, deadline=None, max_examples=40, database=None)
