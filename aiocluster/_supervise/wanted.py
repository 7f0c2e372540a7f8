"""The wanted state of a cluster: changed by requests, one after the other, by load, and by failures. Sans-I/O."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ..errors import ReloadError
from ..settings import RestartPolicy
from .bounds import Bounds
from .growth import Growth
from .plan import Seen, Slot, Want, is_settled
from .restart import RestartHistory, Shortage


@dataclass(eq=False, slots=True)
class Request:
    """A change that the user asks for. ``error`` says why it was given up; None if it was not."""

    name: ClassVar[str] = "change"
    error: Exception | None = None


@dataclass(eq=False, slots=True)
class StartAgents(Request):
    """Start these agents."""

    name = "start of the agents"

    agents: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class Scale(Request):
    """Change the number of workers, or the bounds within which the load decides."""

    name = "scaling"

    workers: int | tuple[int, int] = 0

    @property
    def bounds(self) -> Bounds:
        """The bounds that it asks for."""
        return Bounds.of(self.workers)


@dataclass(eq=False, slots=True)
class Reload(Request):
    """Replace every process."""

    name = "reload"


class Wanted:
    """The wanted state of a cluster.

    Args:
        policy: When to fill slots whose worker ended unexpectedly; None: only at a reload.
        start_timeout: Seconds a process may take to start.
        develops: Whether the code is being edited. Then a reload swaps all workers at once, and a process that fails
            before it can work fails no request but a reload: its slot rests until the next one.

    Attributes:
        policy: As above.
        want: The wanted state, for `plan`.
        may_start: When the restart policy lets each slot be filled again; math.inf: only after a reload.
        shortages: The slots whose start waits for descriptors, memory or processes.
        growth: The workers that the load has added and that do not serve yet.
        restarts: How many unexpected ends led to a replacement.
        is_given_up: Whether too many ended unexpectedly, so that only a reload fills slots again.
    """

    def __init__(self, policy: RestartPolicy | None, start_timeout: float, *, develops: bool = False) -> None:
        self.policy = policy
        self.want = Want(start_timeout=start_timeout, swaps=develops)
        self.may_start: dict[Slot, float] = {}
        self.shortages: dict[Slot, Shortage] = {}
        self.growth = Growth()
        self.restarts = 0
        self.is_given_up = False
        self._history = None if policy is None else RestartHistory(policy)
        self._agents: tuple[str, ...] = ()  # those of this cluster alone
        self._held: tuple[str, ...] = ()
        self._requests: deque[Request] = deque()  # the first one is under way if `_is_begun`
        self._is_begun = False
        self._bounds = self._bounds_before = Bounds(0, 0)
        self._opening: set[Slot] = set()  # slots that this request fills; if one fails, the request fails
        self._generation = 0  # the highest so far
        self._generation_before = 0

    def setup(self, policy: RestartPolicy | None, start_timeout: float, *, develops: bool) -> None:
        """Changes what the arguments of the constructor have said. How processes have ended stays known."""
        self.policy = policy
        if policy is None or self._history is None:
            self._history = None if policy is None else RestartHistory(policy)
        else:
            self._history.policy = policy
        self.want = replace(self.want, start_timeout=start_timeout, swaps=develops)

    # ---- requests

    def ask(self, request: Request) -> None:
        """Adds a request. It begins when those before it are done."""
        self._requests.append(request)

    @property
    def is_changing(self) -> bool:
        """Whether a request is under way or queued."""
        return bool(self._requests)

    @property
    def next_reload(self) -> Reload | None:
        """The reload that is queued and has not begun."""
        return next((request for request in self._queued if isinstance(request, Reload)), None)

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""
        return self._is_begun and isinstance(self._requests[0], Reload)

    @property
    def bounds(self) -> Bounds:
        """The bounds once all requests are done."""
        asked_for = (one.bounds for one in reversed(self._requests) if isinstance(one, Scale) and one.error is None)
        return next(asked_for, self._bounds)

    @property
    def _queued(self) -> Iterable[Request]:
        return itertools.islice(self._requests, 1 if self._is_begun else 0, None)

    @property
    def not_before(self) -> Mapping[Slot, float]:
        """When each slot may be filled again, for `plan`."""
        if not self.shortages:
            return self.may_start
        retries = {slot: max(one.retry_at, self.may_start.get(slot, 0.0)) for slot, one in self.shortages.items()}
        return {**self.may_start, **retries}

    def finish(self, seen: Iterable[Seen]) -> Request | None:
        """Removes and returns the request under way if it is done; else returns None."""
        if not self._is_begun:
            return None
        want, growing = self.want, self.growth.slots
        if growing:  # nobody has asked for these
            want = replace(want, workers=tuple(slot for slot in want.workers if slot not in growing))
            seen = [one for one in seen if one.slot not in growing]
        if not is_settled(want, seen, self.may_start):
            return None
        self._is_begun = False
        self._opening.clear()
        return self._requests.popleft()

    def begin(self) -> Request | None:
        """Begins the next request if none is under way: changes the wanted state and returns the request."""
        if self._is_begun or not self._requests:
            return None
        self._is_begun = True
        request = self._requests[0]
        want = self.want
        match request:
            case StartAgents(agents=agents):
                self._opening = set(agents)
                self._agents = agents
                self.want = replace(want, agents=(*agents, *self._held))
            case Scale(bounds=bounds):
                self._bounds_before, self._bounds = self._bounds, bounds
                slots = range(bounds.nearest(len(want.workers)))  # dense, also if only a part of the last ones came up
                new = self._want_workers(slots)
                asked_for = self.growth.slots.intersection(self.want.workers[: bounds.low])
                self.growth.slots -= asked_for
                self._opening = new | asked_for
            case Reload():
                self._generation_before = want.generation
                self._reload()
        return request

    def _reload(self) -> None:
        self._opening |= self.closed_slots
        self.may_start.clear()
        self.shortages.clear()
        self._generation += 1
        self.want = replace(self.want, generation=self._generation)
        if self.want.swaps and self.policy is not None:
            self.is_given_up, self._history = False, RestartHistory(self.policy)

    def overtake(self) -> Request | None:
        """Begins the request under way anew, which drops what it has started. Returns it; None: there is none to go on.

        Only while the code is being edited: it has changed again.
        """
        request = self._requests[0] if self._is_begun else None
        if not self.want.swaps or request is None or request.error is not None:
            return None
        self._reload()
        return request

    def rests(self, slot: Slot) -> None:
        """Records that a slot stays empty until the code has been edited."""
        self.shortages.pop(slot, None)
        self._opening.discard(slot)
        self.closed(slot)

    def hold(self, agents: tuple[str, ...]) -> None:
        """These are the agents that the fleet has one of, and that are this cluster's now."""
        if agents != self._held:
            self._held = agents
            others = tuple(name for name in self.want.agents if name in self._agents)
            self.want = replace(self.want, agents=(*others, *agents))

    def _want_workers(self, slots: Iterable[int]) -> set[Slot]:
        """Wants a worker in each of these slots. Returns those that are new."""
        before, after = self.want.workers, tuple(sorted(slots))
        for slot in before:
            if slot not in after:
                self._forget(slot)
        self.want = replace(self.want, workers=after)
        return {slot for slot in after if slot not in before}

    def _forget(self, slot: Slot) -> None:
        self.may_start.pop(slot, None)
        self.shortages.pop(slot, None)
        self.growth.slots.discard(slot)

    # ---- load

    def may_follow_load(self, now: float) -> bool:
        """Whether the load may change the number of workers now: nothing else does, and all is well."""
        is_quiet = not self._requests and self.want.stop is None and not self.is_given_up
        is_well = all(when == math.inf for when in self.not_before.values())  # else a worker is to be replaced
        return self._bounds.are_apart and is_quiet and is_well and self.growth.may_begin(now)

    @property
    def left(self) -> int:
        """How many workers have left by their own choice. Their slots stay empty until a reload."""
        return len(self.closed_slots.intersection(self.want.workers))

    def follow_load(self, by: int) -> None:
        """Wants so many workers more, in the lowest free slots, or fewer if it is negative; within the bounds."""
        slots = self.want.workers
        number = self._bounds.nearest(len(slots) + by)
        free = itertools.filterfalse(slots.__contains__, itertools.count())
        more = itertools.islice(free, max(0, number - len(slots)))
        self.growth.slots |= self._want_workers([*slots[:number], *more])

    def _has_not_grown(self, slot: Slot, now: float) -> None:
        """Wants a worker no more that the load has added and that has failed before it served."""
        self.growth.failed(slot, now)
        self._want_workers(one for one in self.want.workers if one != slot)

    # ---- the end

    def give_up_requests(self) -> list[Request]:
        """Drops all requests, and returns them."""
        given_up = list(self._requests)
        self._requests.clear()
        self._is_begun = False
        self._opening.clear()
        return given_up

    def stop(self, *, graceful: bool) -> list[Request]:
        """Changes the wanted state to stopped. Returns the requests that are given up."""
        at_once = self.want.stop == "at once" or not graceful
        self.want = replace(self.want, stop="at once" if at_once else "gracefully")
        return self.give_up_requests()

    # ---- outcomes

    def accepted(self, slot: Slot) -> None:
        """Records that a slot has been filled."""
        self.may_start.pop(slot, None)
        self.shortages.pop(slot, None)
        self._opening.discard(slot)

    def closed(self, slot: Slot) -> None:
        """Records that a slot's process left by its own choice."""
        self.growth.slots.discard(slot)
        self.may_start[slot] = math.inf

    def ended(self, slot: Slot, now: float, chance: float) -> None:
        """Records that a slot's process ended unexpectedly. ``chance``, from 0 to 1, sets the jitter."""
        if slot in self.growth.slots:
            self._has_not_grown(slot, now)
            return
        self.growth.ended(now)
        if self._history is None:
            self.closed(slot)
            return
        wait = None if self.is_given_up else self._history.ended(slot, now, chance)
        if wait is None:
            self.is_given_up = True
            self.may_start[slot] = math.inf
        else:
            self.restarts += 1
            self.may_start[slot] = now + wait

    def failed(self, one: Seen, error: Exception, now: float, chance: float, *, stays: bool) -> bool:
        """Records that a process ended before it was accepted. Returns whether the request under way fails.

        Args:
            one: The process.
            error: Why it ended.
            now: A monotonic time, in seconds.
            chance: A random number from 0 to 1, which sets the jitter.
            stays: Whether its predecessor still works.
        """
        if one.slot in self.growth.slots:
            self._has_not_grown(one.slot, now)
            return False
        self.shortages.pop(one.slot, None)
        is_first = one.slot in self._opening
        fails_request = self._fails_request(one, is_first)
        if fails_request:
            self._give_up_request(error)
        if self.want.swaps:
            if not stays:
                self.rests(one.slot)
            return fails_request
        is_excused = is_first or (stays and fails_request)
        if not is_excused and not self._is_closed(one.slot):
            self.ended(one.slot, now, chance)
        return fails_request

    def in_vain(self, slot: Slot, error: Exception) -> bool:
        """Records that no process can work: none is replaced any more. Returns whether the request under way fails."""
        self.is_given_up = True
        self.may_start[slot] = math.inf
        if self._is_begun:
            self._give_up_request(error)
        return self._is_begun

    def lacked(self, one: Seen, error: Exception, now: float, chance: float) -> bool:
        """Records that a start failed for want of resources. It is tried again, and counts as no unexpected end.

        A request that depends on it is given up once it has waited for ``start_timeout`` seconds. Returns whether.
        The arguments are those of `failed`.
        """
        if one.slot in self.growth.slots:
            self._has_not_grown(one.slot, now)
            return False
        shortage = self.shortages.setdefault(one.slot, Shortage(since=now))
        shortage.failed(now, chance)
        has_waited = now - shortage.since >= self.want.start_timeout
        if has_waited and self._fails_request(one, one.slot in self._opening):
            self._give_up_request(error)
            return True
        return False

    @property
    def closed_slots(self) -> frozenset[Slot]:
        """The wanted slots that stay empty until a reload."""
        return frozenset(filter(self._is_closed, self.want.slots))

    def _is_closed(self, slot: Slot) -> bool:
        return self.may_start.get(slot) == math.inf

    def _fails_request(self, one: Seen, is_first: bool) -> bool:
        if not self._is_begun:
            return False
        is_reload = isinstance(self._requests[0], Reload)
        if self.want.swaps and not is_reload:
            return False
        return is_first or (is_reload and one.generation == self.want.generation)

    def _give_up_request(self, error: Exception) -> None:
        """Restores the wanted state from before the request, and keeps new processes that were accepted."""
        request = self._requests[0]
        if isinstance(request, Reload):
            request.error = ReloadError(f"the reload has been given up, the old workers stay: {error}")
            request.error.__cause__ = error
            self.want = replace(self.want, generation=self._generation_before)
            self.may_start.update(dict.fromkeys(self._opening, math.inf))
        else:
            request.error = error
            agents = tuple(name for name in self.want.agents if name not in self._opening)
            workers = tuple(number for number in self.want.workers if number not in self._opening)
            for slot in self._opening:
                self.shortages.pop(slot, None)
            self.want = replace(self.want, agents=agents, workers=workers)
            if isinstance(request, Scale):
                before = self._bounds_before
                low = before.low if before.are_apart else len(workers)
                self._bounds = Bounds(low, max(before.high, len(workers)))
        self._opening.clear()
