"""What `State.watch` gives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self

from .._no_constructor import NoConstructor
from .._wire.codec import unpack
from .engine import Changed


@dataclass(frozen=True, slots=True)
class Change:
    """A key that has changed.

    Attributes:
        key: The key.
        value: Its new value; None if it was deleted.
        deleted: Whether it is gone: it was deleted, or has expired.
    """

    key: str
    value: Any
    deleted: bool


class Changes(metaclass=NoConstructor, made_by="State.watch()"):
    """The changes under a prefix, for ``async for``. Several loops over it share them."""

    def __init__(self, changes: AsyncIterator[Changed]) -> None:
        self._changes = changes

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        changed = await anext(self._changes)
        body = changed.value
        return Change(changed.key, None if body is None else unpack(body), body is None)
