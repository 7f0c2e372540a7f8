"""A port's policy, which may be the user's own code: whatever it raises is logged, and no connection is lost.

Whatever it raises includes what is no `Exception`: a policy runs inside the primary's event loop, where SystemExit or
CancelledError would end all of the primary, not one connection's turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..._interruption import pass_on_interruption
from ...address import Address
from ...scheduling import Peeking, Policy, RoundRobin

if TYPE_CHECKING:
    from .backend import Backend

logger = logging.getLogger("aiocluster.ports")


class GuardedPolicy:
    """A policy that may fail; where it does, workers are picked in turn instead.

    Args:
        policy: The policy; None: none is needed, since the primary does not accept on this port.
        address: The port's address, for the log.

    Attributes:
        policy: The policy, for picking: a port does that itself, for each connection.
        pickable: The workers that may be picked now.
        hears_changes: Whether the policy has a `changed` of its own.
        may_wait: Whether the policy has an `awaited` of its own.
    """

    def __init__(self, policy: Policy[Backend] | None, address: Address) -> None:
        self.pickable: set[Backend] = set()
        self.policy: Policy[Backend] = policy if policy is not None else RoundRobin()
        self._picked_instead: dict[Backend, int] = {}  # the number of the last such pick
        self._address = address
        changed = getattr(self.policy, "changed", None)
        self.hears_changes: bool = getattr(changed, "__func__", changed) not in (None, Policy.changed)
        awaited = getattr(self.policy, "awaited", None)
        self.may_wait: bool = getattr(awaited, "__func__", awaited) not in (None, Policy.awaited)

    def pick_instead(self, error: BaseException) -> Backend:
        """The worker for a connection for which the policy has failed. At least one must be pickable."""
        logger.error("%s: the policy failed; round robin picks a worker instead", self._address, exc_info=error)
        pass_on_interruption(error)
        picked = self._picked_instead
        backend = min(self.pickable, key=lambda one: (picked.get(one, 0), one.slot))
        picked[backend] = max(picked.values(), default=0) + 1
        return backend

    def awaited(self) -> Iterable[Backend]:
        """The workers that are full and worth waiting for. At least one must be pickable."""
        try:
            return self.policy.awaited()
        except BaseException as error:
            logger.error("%s: the policy failed; nobody is waited for", self._address, exc_info=error)
            pass_on_interruption(error)
            return ()

    def has_enough(self, first: bytes) -> bool:
        """Whether the policy needs no more of a connection's first bytes. If it fails, it gets no more."""
        assert isinstance(self.policy, Peeking)
        try:
            return bool(self.policy.has_enough(first))
        except BaseException as error:
            logger.error("%s: the policy failed; what has arrived has to do", self._address, exc_info=error)
            pass_on_interruption(error)
            return True

    def add(self, backend: Backend) -> None:
        """This worker may be picked from now on."""
        self.pickable.add(backend)
        self._tell("add", backend)

    def remove(self, backend: Backend) -> None:
        """This worker may not be picked until it is added again."""
        self.pickable.discard(backend)
        self._tell("remove", backend)

    def forget(self, backend: Backend) -> None:
        """This worker will not come back."""
        self._picked_instead.pop(backend, None)
        self._tell("forget", backend)

    def attach(self, is_ready: Callable[[Backend], bool]) -> None:
        """This says whether a worker is ready with what it has been sent at the port, or soon will be."""
        self._tell("attach", is_ready)

    def settle(self) -> None:
        """``connections`` may be looked at anew."""
        self._tell("settle")

    def changed(self, backend: Backend) -> None:
        """This worker's ``connections``, ``delay`` or ``busy`` have changed."""
        self._tell("changed", backend)

    def _tell(self, what: str, *about: object) -> None:
        tell = getattr(self.policy, what, None)  # but for `add` and `remove`, they are optional
        try:
            if tell is not None:
                tell(*about)
        except BaseException as error:
            logger.error("%s: the policy raised an exception", self._address, exc_info=error)
            pass_on_interruption(error)
