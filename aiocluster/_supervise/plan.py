"""What a cluster does next. Sans-I/O: what is wanted and what is seen go in; actions, and when to look again, come out.

A process in a slot is forked, comes online, and is *accepted* when it can do its slot's work: then its predecessor, if
there is one, is told to leave. `plan` compares what is wanted with what is seen, and does nothing itself. Whoever
carries out its actions enters them in what is seen, and calls `plan` again until there is nothing left to do.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Slot = int | str
"""A worker's number, or an agent's name."""

OWN_END = 1.0
"""Seconds a process has to end by itself once ``graceful_timeout`` is used up, before SIGTERM."""
TERM_TIMEOUT = 2.0
"""Seconds between this SIGTERM and SIGKILL."""
ABORT_TIMEOUT = 0.5
"""Seconds between SIGABRT, which writes a blocked worker's stacks, and SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What the cluster should be.

    Attributes:
        agents: The agents that should run.
        workers: The slots that should have a worker.
        generation: The lowest generation a process may be of; a reload raises it.
        stop: How all of them should end; None while they should run.
        start_timeout: Seconds a process may take to come online, and then again to listen where its predecessor does.
    """

    agents: tuple[str, ...] = ()
    workers: tuple[int, ...] = ()
    generation: int = 0
    stop: Literal["gracefully", "at once"] | None = None
    start_timeout: float = 30.0

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots to be filled, agents first."""
        return () if self.stop else (*self.agents, *self.workers)


@dataclass(slots=True, eq=False, kw_only=True)
class Seen:
    """What is known of one process. `plan` reads it; whoever carries out the actions keeps it.

    Attributes:
        id: Higher than those of all processes started before.
        slot: Its slot.
        generation: What was wanted when it was started.
        instead_of: The process that it is to replace.
        since: When it was forked; once it is online, when that was seen.
        ports: On how many shared ports it listens.
        is_forked: It has a pid.
        is_online: It has been online, whatever became of it.
        is_leaving: It was told to leave, or said that it does.
        is_failed: It does no more work, and is not leaving.
        is_gone: Nothing is left of it.
        is_due: It has reached a limit and should be replaced.
        hung_at: When its event loop was found to be blocked.
        is_accepted: `Accept` was carried out.
        is_told: `Leave` was carried out.
        is_settled: `Close`, `Count` or `Fail` was carried out.
        leave_by: When it must be gone, because it was told to leave or has failed.
        signals: The signals it was sent, and when.
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
    leave_by: float = math.inf
    signals: dict[signal.Signals, float] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether it goes on working."""
        return not (self.is_leaving or self.is_failed or self.is_gone or self.is_told)


# ---- actions


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process."""

    slot: Slot
    generation: int
    instead_of: int | None = None


@dataclass(frozen=True, slots=True)
class Accept:
    """It does its slot's work from now on."""

    id: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Tell it to leave."""

    id: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Send it a signal; if it is still being forked, give that up."""

    id: int
    signal: signal.Signals
    reason: Literal["not wanted", "start_timeout", "graceful_timeout", "hang_timeout"]


@dataclass(frozen=True, slots=True)
class Close:
    """It left of its own accord: its slot stays empty until a reload."""

    id: int


@dataclass(frozen=True, slots=True)
class Count:
    """It has ended unasked: the restart policy decides when its slot is filled again."""

    id: int


@dataclass(frozen=True, slots=True)
class Fail:
    """It ended before it was accepted; ``stays`` is the process it was to replace, if that still works."""

    id: int
    stays: int | None


@dataclass(frozen=True, slots=True)
class Forget:
    """It is gone, and nothing more follows from it."""

    id: int


Action = Start | Accept | Leave | Kill | Close | Count | Fail | Forget


# ---- the plan


def plan(want: Want, seen: Iterable[Seen], may_start: Mapping[Slot, float], now: float) -> tuple[list[Action], float]:
    """Decides what is to be done now.

    Args:
        want: What is wanted.
        seen: All processes that have not been forgotten.
        may_start: When a slot may be filled again; math.inf: not before a reload. Missing: at once.
        now: A monotonic time, in seconds.

    Returns:
        The actions, and when to look again even if nothing changes. With nothing to do there are no actions.
    """
    groups: dict[Slot, list[Seen]] = {slot: [] for slot in want.slots}
    wanted = frozenset(groups)
    for one in seen:
        groups.setdefault(one.slot, []).append(one)
    everyone = [one for group in groups.values() for one in group]

    actions: list[Action] = []
    for one in everyone:
        if (outcome := _outcome(one, groups[one.slot], one.slot in wanted)) is not None:
            actions.append(outcome)
        elif _should_leave(want, one, groups, wanted):
            actions.append(Leave(one.id))
    if actions:
        return actions, now  # what else is to be done depends on these

    signals, next_signal = _signals(want, everyone, wanted, now)
    starts, next_start = _starts(want, groups, everyone, may_start, now)
    return [*signals, *starts], min(next_signal, next_start)


def is_settled(want: Want, seen: Iterable[Seen], may_start: Mapping[Slot, float]) -> bool:
    """Whether what is wanted is there, as far as the restart policy allows, and nothing else is."""
    wanted = frozenset(want.slots)
    filled = set(may_start)
    for one in seen:
        if not one.is_accepted or one.is_told or one.slot not in wanted:
            return False
        if one.is_up and one.generation >= want.generation:
            filled.add(one.slot)
    return wanted <= filled


def _outcome(one: Seen, group: list[Seen], is_wanted: bool) -> Action | None:
    """What follows from what has become of a process. Each outcome is decided once."""
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


def _can_take_over(one: Seen, group: list[Seen]) -> bool:
    """Whether it is online, and listens on as many ports as the process it is to replace, if that still works."""
    before = next((other for other in group if other.id == one.instead_of and other.is_up), None)
    return one.is_online and (before is None or (one.is_up and one.ports >= before.ports))


def _newest(group: list[Seen]) -> Seen | None:
    """The last one accepted in this slot."""
    return max((one for one in group if one.is_accepted), key=lambda one: one.id, default=None)


def _should_leave(want: Want, one: Seen, groups: Mapping[Slot, list[Seen]], wanted: frozenset[Slot]) -> bool:
    """Whether it is to be told to leave now: it is not wanted, or its replacement has been accepted."""
    if not one.is_accepted or one.is_told or one.is_gone or want.stop == "at once":
        return False
    if one.slot in wanted:
        group = groups[one.slot]
        return len(group) > 1 and one.is_up and one is not _newest(group)
    is_agent = isinstance(one.slot, str)
    workers_first = want.stop is not None and is_agent and any(isinstance(slot, int) for slot in groups)
    return not workers_first


def _signals(want: Want, everyone: list[Seen], wanted: frozenset[Slot], now: float) -> tuple[list[Action], float]:
    """The signals that are due, and when the next one will be."""
    actions: list[Action] = []
    wake = math.inf
    for one in everyone:
        when, kill = _next_signal(want, one, one.slot in wanted)
        if kill is not None and when <= now:
            actions.append(kill)
        else:
            wake = min(wake, when)
    return actions, wake


def _next_signal(want: Want, one: Seen, is_wanted: bool) -> tuple[float, Kill | None]:
    """The next signal for this process and its time."""
    kill, term, abort = signal.SIGKILL, signal.SIGTERM, signal.SIGABRT
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
    if term in one.signals:
        times.append((one.signals[term] + TERM_TIMEOUT, Kill(one.id, kill, "graceful_timeout")))
    else:
        times.append((one.leave_by + OWN_END, Kill(one.id, term, "graceful_timeout")))
    return min(times, key=lambda entry: entry[0])


def _starts(
    want: Want,
    groups: Mapping[Slot, list[Seen]],
    everyone: list[Seen],
    may_start: Mapping[Slot, float],
    now: float,
) -> tuple[list[Action], float]:
    """Fills empty slots at once, side by side; then replaces what is outdated or due, one at a time."""
    actions: list[Action] = []
    wake = math.inf
    outdated: list[Seen] = []
    for slot in want.slots:
        group = groups[slot]
        newest = _newest(group)
        if newest is not None and newest.is_up:
            if newest.generation < want.generation or newest.is_due:
                outdated.append(newest)
        elif all(one.is_accepted for one in group) and not (isinstance(slot, str) and group):
            when = may_start.get(slot, -math.inf)
            if when <= now:
                actions.append(Start(slot, want.generation))
            else:
                wake = min(wake, when)
    is_busy = bool(actions) or any(one.is_told or not one.is_accepted for one in everyone)
    if outdated and not is_busy:
        first = outdated[0]
        is_agent = isinstance(first.slot, str)  # there are never two processes of an agent: it leaves first
        actions.append(Leave(first.id) if is_agent else Start(first.slot, want.generation, first.id))
    return actions, wake
