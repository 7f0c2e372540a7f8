"""OpenTelemetry's ``service.instance.id``: each worker has its own.

Metrics of two processes with the same one overwrite each other. Where none is given, its SDK makes a random one in each
process, and another one after a fork, from 1.43 and 1.44 on. What is left to do here:

* An SDK before 1.43 makes none, so workers are given one.
* One that is given to all workers alike (Kubernetes' operator for OpenTelemetry names the container) is made different.

In all other cases the variable is left alone: programs that workers start inherit it, and would be given theirs.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"
"""The variable: ``name=value`` with commas between them, percent-encoded."""

_NAME = "service.instance.id"
_MAKES_ITS_OWN = (1, 43)
_VERSION = re.compile(r"""__version__\s*=\s*["'](\d+)\.(\d+)""")


def for_worker(env: Mapping[str, str], worker_id: int) -> dict[str, str]:
    """Returns what a worker's environment needs, so that no other worker has its id.

    Args:
        env: What it would have without that, as all workers have it.
        worker_id: The worker's own number in its cluster.
    """
    items, given = _apart(env)
    if given is None:
        if not _sdk_makes_none():
            return {}
        import uuid  # few need it

        given = str(uuid.uuid4())
    else:
        given = f"{given}.{worker_id}"
    return {ATTRIBUTES: ",".join([*items, f"{_NAME}={given}"])}


def for_helper(env: Mapping[str, str]) -> dict[str, str]:
    """Returns what the environment of a process needs that is no worker: no id that all have alike.

    In a fork server an SDK then makes one, and each worker's SDK another one.
    """
    items, given = _apart(env)
    return {} if given is None else {ATTRIBUTES: ",".join(items)}


def _apart(env: Mapping[str, str]) -> tuple[list[str], str | None]:
    """Returns the attributes without the id, and the id; None if there is none."""
    items: list[str] = []
    given = None
    for item in filter(None, env.get(ATTRIBUTES, "").split(",")):
        name, _, value = item.partition("=")
        if name.strip() != _NAME:
            items.append(item)
        elif value.strip():
            given = value.strip()
    return items, given


@functools.cache
def _sdk_makes_none() -> bool:
    """Whether an SDK is installed that makes no id. Nothing of it is imported."""
    try:
        spec = find_spec("opentelemetry.sdk")
    except ModuleNotFoundError:  # not even its parent
        return False
    return makes_none((spec and spec.submodule_search_locations) or ())


def makes_none(folders: Iterable[str]) -> bool:
    """Whether an SDK in these folders makes no id, by its version. `importlib.metadata` would take longer to import."""
    for folder in folders:
        try:
            text = Path(folder, "version", "__init__.py").read_text()
        except OSError:
            continue
        if (found := _VERSION.search(text)) is not None:
            return (int(found[1]), int(found[2])) < _MAKES_ITS_OWN
    return False
