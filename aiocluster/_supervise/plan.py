"""Decides what a cluster does next. Sans-I/O: wanted and observed state go in; actions and a wake-up time come out.

A process in a slot is forked, comes online, and is *accepted* when it can do the slot's work. Then its predecessor, if
there is one, is told to leave. `plan` compares `Want` with the `Seen` of each process and has no side effects. The
caller carries out the actions, records them in `Seen`, and calls `plan` again until it returns no actions.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Slot = int | str
"""A worker's number, or an agent's name."""

ABORT_TIMEOUT = 0.5
"""Seconds between SIGABRT, at which a hung worker writes its stacks, and SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """The wanted state of the cluster.

    Attributes:
        agents: The agents that should run.
        workers: The slots that should each have a worker.
        generation: Processes of lower generations are outdated. A reload raises it.
        stop: How all processes should end; None while they should run.
        start_timeout: Seconds a process may take to come online, and again to listen where its predecessor does.
        swaps: Whether a reload replaces all workers at once, and the agents after them. What is still starting when the
            generation changes is dropped.
    """

    agents: tuple[str, ...] = ()
    workers: tuple[int, ...] = ()
    generation: int = 0
    stop: Literal["gracefully", "at once"] | None = None
    start_timeout: float = 30.0
    swaps: bool = False

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots to fill, agents first."""
        return () if self.stop else (*self.agents, *self.workers)


@dataclass(slots=True, eq=False, kw_only=True)
class Seen:
    """The observed state of one process. `plan` reads it; the caller of `plan` maintains it.

    Attributes:
        id: Its number; higher than that of every process started before.
        slot: Its slot.
        generation: The generation that was wanted when it was started.
        instead_of: The process that it is to replace.
        since: When its start began; once it is online, when it was seen online.
        ports: The number of shared ports it listens on.
        is_forked: It has a pid.
        is_online: It is online, or was.
        is_leaving: It was told to leave, or announced that it leaves.
        is_failed: It has stopped working without leaving.
        is_gone: It has disconnected and its process has ended.
        is_due: It reached a limit and should be replaced.
        hung_at: When its event loop was found blocked.
        is_accepted: `Accept` was carried out.
        is_told: `Leave` was carried out.
        is_settled: `Close`, `Count` or `Fail` was carried out.
        signals: The signals sent to it, with their times.
    """

    id: int
    slot: Slot
    generation: int = 0
    instead_of: int | None = None
    since: float = 0.0
    ports: int = 0
    is_forked: bool = False
    is_online: bool = False
    is_leaving: bool = False
    is_failed: bool = False
    is_gone: bool = False
    is_due: bool = False
    hung_at: float | None = None
    is_accepted: bool = False
    is_told: bool = False
    is_settled: bool = False
    signals: dict[signal.Signals, float] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether it is to keep working: it has not failed, ended, or begun to leave."""
        return not (self.is_leaving or self.is_failed or self.is_gone or self.is_told)

    @property
    def is_worker(self) -> bool:
        """Whether it is no agent."""
        return isinstance(self.slot, int)

    @property
    def is_at_work(self) -> bool:
        """Whether it does its slot's work, and is to go on with it."""
        return self.is_accepted and self.is_up


# ---- actions


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process."""

    slot: Slot
    generation: int
    instead_of: int | None = None


@dataclass(frozen=True, slots=True)
class Accept:
    """Record that the process does its slot's work from now on."""

    id: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Tell it to leave."""

    id: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Send it a signal, or cancel its fork if that is still under way."""

    id: int
    signal: signal.Signals
    reason: Literal["not wanted", "start_timeout", "hang_timeout"]


@dataclass(frozen=True, slots=True)
class Close:
    """Record that it left by its own choice: its slot stays empty until a reload."""

    id: int


@dataclass(frozen=True, slots=True)
class Count:
    """Record an unexpected end: the restart policy decides when its slot is filled again."""

    id: int


@dataclass(frozen=True, slots=True)
class Fail:
    """Record that it ended before it was accepted. ``stays`` is the process it was to replace, if that still works."""

    id: int
    stays: int | None


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop a process that is gone and needs no further action."""

    id: int


Action = Start | Accept | Leave | Kill | Close | Count | Fail | Forget


# ---- the plan


def plan(want: Want, seen: Iterable[Seen], may_start: Mapping[Slot, float], now: float) -> tuple[list[Action], float]:
    """Decides what to do now.

    Args:
        want: The wanted state.
        seen: All processes, except those dropped by `Forget`.
        may_start: When each slot may be filled again, or its process be replaced. math.inf: not before a reload.
            Missing: at once.
        now: A monotonic time, in seconds.

    Returns:
        The actions, empty if there is nothing to do; and when to call again even if nothing changes.
    """
    groups: dict[Slot, list[Seen]] = {slot: [] for slot in want.slots}
    wanted = frozenset(groups)
    for one in seen:
        groups.setdefault(one.slot, []).append(one)
    everyone = [one for group in groups.values() for one in group]
    unwanted = {one.id for one in everyone if one.slot not in wanted or _is_dropped(want, one)}

    actions: list[Action] = []
    for one in everyone:
        if (outcome := _outcome(one, groups[one.slot], one.id not in unwanted)) is not None:
            actions.append(outcome)
        elif _should_leave(want, one, groups, wanted):
            actions.append(Leave(one.id))
    if actions:
        return actions, now  # the rest depends on these

    signals, next_signal = _signals(want, everyone, unwanted, now)
    starts, next_start = _starts(want, groups, everyone, may_start, now)
    return [*signals, *starts], min(next_signal, next_start)


def is_settled(want: Want, seen: Iterable[Seen], may_start: Mapping[Slot, float]) -> bool:
    """Whether exactly the wanted processes run, as far as the restart policy allows."""
    wanted = frozenset(want.slots)
    filled = set(may_start)
    for one in seen:
        if not one.is_accepted or one.is_told or one.slot not in wanted:
            return False
        if one.is_up and one.generation >= want.generation:
            filled.add(one.slot)
    return wanted <= filled


def awaits_heir(want: Want, seen: Iterable[Seen], may_start: Mapping[Slot, float], slot: Slot) -> float:
    """Returns until when a process may still come, in this slot, for the ports that a failed one has left there.

    A process that works has ``start_timeout`` seconds, from when it came online, to open as many ports as that one had.
    """
    if slot not in want.slots:
        return -math.inf
    newest = max((one for one in seen if one.slot == slot and one.is_up), key=lambda one: one.id, default=None)
    if newest is None:
        return -math.inf if may_start.get(slot) == math.inf else math.inf
    return newest.since + want.start_timeout if newest.is_online else math.inf


def _outcome(one: Seen, group: list[Seen], is_wanted: bool) -> Action | None:
    """Returns the action for a process whose state has changed, if any. Each outcome is returned once."""
    if not one.is_accepted:
        if is_wanted and _can_take_over(one, group):
            return Accept(one.id)
        if one.is_gone and is_wanted and not one.is_settled:
            return Fail(one.id, stays=next((other.id for other in group if other.is_accepted and other.is_up), None))
    elif one.is_up or one.is_told or one.is_settled:
        pass  # nothing has happened, or it has been dealt with
    elif is_wanted and one is _newest(group):
        return Close(one.id) if one.is_leaving else Count(one.id)
    return Forget(one.id) if one.is_gone else None


def _is_dropped(want: Want, one: Seen) -> bool:
    """Whether it has been started for a reload that has been given up, or that the next one has overtaken."""
    return want.swaps and not one.is_accepted and one.generation != want.generation


def _can_take_over(one: Seen, group: list[Seen]) -> bool:
    """Whether it is online, and listens on as many ports as its predecessor if that still works."""
    before = next((other for other in group if other.id == one.instead_of and other.is_up), None)
    return one.is_online and (before is None or (one.is_up and one.ports >= before.ports))


def _newest(group: list[Seen]) -> Seen | None:
    """Returns the process that was accepted last in this slot."""
    return max((one for one in group if one.is_accepted), key=lambda one: one.id, default=None)


def _should_leave(want: Want, one: Seen, groups: Mapping[Slot, list[Seen]], wanted: frozenset[Slot]) -> bool:
    """Whether to tell it to leave now: it is not wanted, or its replacement has been accepted."""
    if not one.is_accepted or one.is_told or one.is_gone or want.stop == "at once":
        return False
    if one.slot in wanted:
        group = groups[one.slot]
        return len(group) > 1 and one.is_up and one is not _newest(group)
    is_agent = isinstance(one.slot, str)
    workers_first = want.stop is not None and is_agent and any(isinstance(slot, int) for slot in groups)
    return not workers_first


def _signals(want: Want, everyone: list[Seen], unwanted: set[int], now: float) -> tuple[list[Action], float]:
    """Returns the signals that are due, and the time of the next one."""
    actions: list[Action] = []
    wake = math.inf
    for one in everyone:
        when, kill = _next_signal(want, one, one.id not in unwanted)
        if kill is not None and when <= now:
            actions.append(kill)
        else:
            wake = min(wake, when)
    return actions, wake


def _next_signal(want: Want, one: Seen, is_wanted: bool) -> tuple[float, Kill | None]:
    """Returns the time of the next signal for this process, and the signal.

    What it gets when it does not leave in time is not decided here: each process in the primary has its own deadline.
    """
    kill, abort = signal.SIGKILL, signal.SIGABRT
    if one.is_gone or kill in one.signals:
        return math.inf, None
    if want.stop == "at once" or not (one.is_accepted or is_wanted):
        return -math.inf, Kill(one.id, kill, "not wanted")
    times: list[tuple[float, Kill]] = []
    if one.is_forked and not one.is_accepted and not one.is_failed:
        times.append((one.since + want.start_timeout, Kill(one.id, kill, "start_timeout")))
    if one.hung_at is not None:
        if abort in one.signals:
            times.append((one.signals[abort] + ABORT_TIMEOUT, Kill(one.id, kill, "hang_timeout")))
        else:
            times.append((one.hung_at, Kill(one.id, abort, "hang_timeout")))
    return min(times, key=lambda entry: entry[0], default=(math.inf, None))


def _starts(
    want: Want,
    groups: Mapping[Slot, list[Seen]],
    everyone: list[Seen],
    may_start: Mapping[Slot, float],
    now: float,
) -> tuple[list[Action], float]:
    """Fills empty slots, all at once; then replaces outdated and due processes, one at a time unless ``want.swaps``."""
    actions: list[Action] = []
    wake = math.inf
    outdated: list[Seen] = []
    for slot in want.slots:
        group = groups[slot]
        old = _newest(group)
        old = old if old is not None and old.is_up else None
        is_wanting = _is_empty(slot, group) if old is None else old.generation < want.generation or old.is_due
        when = may_start.get(slot, -math.inf)
        if is_wanting and when > now:
            wake = min(wake, when)
        elif is_wanting and old is not None:
            outdated.append(old)
        elif is_wanting:
            actions.append(Start(slot, want.generation))
    if want.swaps and (swapped := [one for one in outdated if one.generation < want.generation]):
        return actions or _swap(want, swapped, groups, everyone), wake
    is_busy = bool(actions) or any(one.is_told or not one.is_accepted for one in everyone)
    if outdated and not is_busy:
        # A reload goes by slots. Of those that have reached a limit the oldest is first: newer ones before it, in other
        # slots, would come due again and again.
        first = min(outdated, key=lambda one: (one.generation >= want.generation) * one.id)
        is_agent = isinstance(first.slot, str)  # an agent never runs twice: the old one leaves first
        actions.append(Leave(first.id) if is_agent else Start(first.slot, want.generation, first.id))
    return actions, wake


def _swap(want: Want, outdated: list[Seen], groups: Mapping[Slot, list[Seen]], everyone: list[Seen]) -> list[Action]:
    """Replaces all outdated workers side by side, then all outdated agents: by then workers have tried the new code."""
    workers = [one for one in outdated if one.is_worker]
    if workers or any(one.is_worker and not one.is_accepted for one in everyone):
        free = [one for one in workers if all(other.is_accepted for other in groups[one.slot])]
        return [Start(one.slot, want.generation, one.id) for one in free]
    return [Leave(one.id) for one in outdated if not one.is_worker]


def _is_empty(slot: Slot, group: list[Seen]) -> bool:
    """Whether a slot without a working process can be filled: none starts there, and an agent's old one is gone."""
    return all(one.is_accepted for one in group) and not (isinstance(slot, str) and group)
