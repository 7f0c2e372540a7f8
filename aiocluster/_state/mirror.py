"""`State.mirror`: a mapping in this process that watching keeps current."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from .._wire.codec import unpack
from ..errors import ClusterError
from .engine import Changed, Engine

logger = logging.getLogger("aiocluster.state")

_PAUSES = (0.05, 1.0)  # seconds before the connection is tried again: at first, and at most
_CONTAINERS = (list, dict)


class _Packed:
    """A value that others could change if it were given to them, so that each gets one of his own."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body


class Mirror(Mapping[str, Any]):
    """A read-only copy of all keys under a prefix; see `State.mirror`. Keys have their whole names.

    Attributes:
        is_current: Whether it hears of changes. If not, they come once the connection is there again.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self.is_current: bool = False

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        return unpack(value.body) if type(value) is _Packed else value

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Mirror of {len(self)} keys{'' if self.is_current else ', not current'}>"

    def _begin(self, bodies: Mapping[str, bytes | None]) -> None:
        self._values = {key: _kept(body) for key, body in bodies.items() if body is not None}
        self.is_current = True

    def _apply(self, change: Changed) -> None:
        if change.value is None:
            self._values.pop(change.key, None)
        else:
            self._values[change.key] = _kept(change.value)


def _kept(body: bytes) -> Any:
    value = unpack(body)
    return _Packed(body) if isinstance(value, _CONTAINERS) else value


@asynccontextmanager
async def mirrored(engine: Engine, prefix: str) -> AsyncIterator[Mirror]:
    """Yields a mirror once it is current, and keeps it so."""
    mirror = Mirror()
    is_there: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.get_running_loop().create_task(_follow(engine, prefix, mirror, is_there))
    try:
        await asyncio.wait([task, is_there], return_when=asyncio.FIRST_COMPLETED)
        if not is_there.done():
            task.result()  # raises
        yield mirror
    finally:
        mirror.is_current = False
        is_there.cancel()
        task.cancel()
        await asyncio.wait([task])
        was_there = is_there.done() and not is_there.cancelled()
        if not task.cancelled() and (error := task.exception()) is not None and was_there:
            logger.error("a mirror of %r has failed", prefix, exc_info=error)


async def _follow(engine: Engine, prefix: str, mirror: Mirror, is_there: asyncio.Future[None]) -> None:
    pause = _PAUSES[0]
    while True:
        try:
            async with engine.watch(prefix) as changes:
                keys = await engine.keys(prefix)
                bodies = await engine.get_many(keys)
                await engine.catch_up()
                # Changes that came before these values are applied after them. Nobody sees that: this task goes on
                # without a pause until it has applied all.
                mirror._begin(dict(zip(keys, bodies, strict=True)))
                if not is_there.done():
                    is_there.set_result(None)
                pause = _PAUSES[0]
                async for change in changes:
                    mirror._apply(change)
        except (ClusterError, OSError) as error:
            if not is_there.done():
                raise
            mirror.is_current = False
            logger.warning("the mirror of %r is not current: %s", prefix, error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _PAUSES[1])
