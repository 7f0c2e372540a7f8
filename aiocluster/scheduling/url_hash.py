"""The same worker for the same request target."""

from __future__ import annotations

from typing import Any, ClassVar

from ._first_bytes import Peek, request_target
from ._keyed import Keyed
from .policy import C, Peeking


class UrlHash(Keyed[C], Peeking[C]):
    """Sends all connections whose first request has the same target to one worker while that worker is there.

    A connection that is encrypted, is not HTTP/1, or does not send its request in time is assigned in turn. Only the
    first request of a connection counts. If its target is longer than `peek_limit`, only the part within the limit
    counts. Weights do not count. Adding and removing workers moves targets as it moves addresses with `IpHash`.
    """

    peek_limit: ClassVar[int] = 4096
    patience: ClassVar[float] = 0.5

    def has_enough(self, first: bytes) -> bool:
        return len(first) >= self.peek_limit or request_target(first) is not Peek.NEED_MORE

    def pick_by(self, client: Any, first: bytes) -> C:
        target = request_target(first)
        if target is Peek.NEED_MORE and len(first) >= self.peek_limit:
            target = request_target(first + b" HTTP/1.1")  # as if the target ended here
        return self._find(None if isinstance(target, Peek) else target)
