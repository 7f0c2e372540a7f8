"""A cluster without processes: it carries out what `plan` says, and holds the plan to its promises at each step."""

from __future__ import annotations

import math
import signal

from aiocluster._supervise.plan import (
    ABORT_TIMEOUT,
    Accept,
    Action,
    Close,
    Count,
    Fail,
    Forget,
    Kill,
    Leave,
    Seen,
    Slot,
    Start,
    plan,
)
from aiocluster._supervise.wanted import Reload, Request, Scale, StartAgents, Wanted
from aiocluster.errors import ReloadError, StartupError
from aiocluster.settings import RestartPolicy

PORTS = 2
START_TIMEOUT = 10.0
GRACEFUL_TIMEOUT = 5.0  # then the primary ends what has not left or has failed; the plan has no part in it
AGENTS = ("a", "b")


class World:
    """Processes that do what a test says, and time that passes when it says so.

    Args:
        policy: The restart policy.
        develops: Whether the code is being edited.

    Attributes:
        processes: What the plan sees.
        finished: The requests that are done or given up.
        actions: All that was done.
    """

    def __init__(self, policy: RestartPolicy, *, develops: bool = False) -> None:
        self.develops = develops
        self.now = 0.0
        self.wake = math.inf
        self.wanted = Wanted(policy, START_TIMEOUT, develops=develops)
        self.processes: dict[int, Seen] = {}
        self.finished: list[Request] = []
        self.actions: list[Action] = []
        self._last_id = 0
        self._lacking: set[int] = set()
        self._deadlines: dict[int, float] = {}

    # ---- what a cluster asks for

    def enter(self, workers: int, agents: tuple[str, ...] = ()) -> None:
        self.wanted.ask(StartAgents(agents=agents))
        self.wanted.ask(Scale(workers=workers))
        self.step()
        self.go_well()

    def scale(self, workers: int) -> Scale:
        request = Scale(workers=workers)
        self.wanted.ask(request)
        self.step()
        return request

    def reload(self) -> Reload:
        request = Reload()
        self.wanted.ask(request)
        self.step()
        return request

    def edit(self) -> None:
        """The code has been edited."""
        if self.wanted.overtake() is None and self.wanted.next_reload is None:
            self.wanted.ask(Reload())
        self.step()

    def stop(self, graceful: bool) -> None:
        self.finished += self.wanted.stop(graceful=graceful)
        self.step()

    # ---- what becomes of processes

    def of(self, slot: Slot) -> list[Seen]:
        return [one for one in self.processes.values() if one.slot == slot and not one.is_gone]

    def current(self, slot: Slot) -> Seen:
        (one,) = [one for one in self.of(slot) if one.is_accepted and one.is_up]
        return one

    def current_or_leaving(self, slot: Slot) -> Seen:
        (one,) = [one for one in self.of(slot) if one.is_accepted]
        return one

    def coming(self, slot: Slot) -> Seen:
        (one,) = [one for one in self.of(slot) if not one.is_accepted]
        return one

    def come_online(self, one: Seen, ports: int = PORTS) -> None:
        if not one.is_gone:
            one.is_forked = True
            if not one.is_online:
                one.is_online, one.since = True, self.now
            one.ports = ports
        self.step()

    def fail(self, one: Seen) -> None:
        """It has raised an exception, or its channel has closed: it may finish what it has."""
        if one.is_forked and not one.is_leaving and not one.is_gone:
            one.is_failed, one.ports = True, 0
            self._has_a_deadline(one)
        self.step()

    def end(self, one: Seen) -> None:
        """Its process has ended."""
        self._end(one)
        self.step()

    def _end(self, one: Seen) -> None:
        one.is_gone, one.ports = True, 0
        one.is_failed = not one.is_leaving

    def lack(self, one: Seen) -> None:
        """It can't be forked for want of resources."""
        if not one.is_forked and not one.is_gone:
            self._lacking.add(one.id)
            self._end(one)
        self.step()

    def leave(self, one: Seen) -> None:
        """It leaves of its own accord."""
        if one.is_forked and not one.is_gone:
            one.is_leaving = True
        self.step()

    def go_well(self) -> None:
        """Everything that was begun succeeds, until there is nothing left to do."""
        for _ in range(300):
            changing = [one for one in self.processes.values() if not (one.is_accepted and one.is_up)]
            for one in changing:
                if one.is_leaving or one.is_failed or one.is_told:
                    self.end(one)
                else:
                    self.come_online(one)
            if not changing:
                if self.wake == math.inf:
                    return
                self.pass_time(self.wake - self.now)
        raise AssertionError("it does not come to rest")

    def pass_time(self, seconds: float) -> None:
        """Time passes, with a look at each time that the plan has named."""
        until = self.now + seconds
        while (soonest := min(self.wake, *self._deadlines.values(), math.inf)) <= until:
            self.now = max(self.now, soonest)
            for id in [id for id, when in self._deadlines.items() if when <= self.now]:
                del self._deadlines[id]
                if (one := self.processes.get(id)) is not None and not one.is_gone:
                    self._end(one)
            self.step()
        self.now = until
        self.step()

    def _has_a_deadline(self, one: Seen) -> None:
        self._deadlines.setdefault(one.id, self.now + GRACEFUL_TIMEOUT)

    # ---- carrying out

    def step(self) -> None:
        for _ in range(200):
            actions, self.wake = plan(self.wanted.want, self.processes.values(), self.wanted.not_before, self.now)
            for action in actions:
                self.actions.append(action)
                self._carry_out(action)
            if actions:
                continue
            if (finished := self.wanted.finish(self.processes.values())) is not None:
                self.finished.append(finished)
            if self.wanted.begin() is None:
                break
        else:
            raise AssertionError("the plan is never through")
        assert self.wake > self.now
        self._check_deadlines()

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Start):
            self._check_start(action)
            self._last_id += 1
            one = Seen(id=self._last_id, slot=action.slot, generation=action.generation)
            one.instead_of, one.since = action.instead_of, self.now
            self.processes[one.id] = one
            return
        one = self.processes[action.id]
        match action:
            case Accept():
                assert one.is_online
                assert not one.is_accepted
                one.is_accepted = True
                self.wanted.accepted(one.slot)
            case Leave():
                self._check_leave(one)
                one.is_told = True
                one.is_leaving = one.is_leaving or not one.is_failed
                self._has_a_deadline(one)
            case Kill(_, number, reason):
                self._check_kill(one, number, reason)
                one.signals[number] = self.now
                if number == signal.SIGKILL:
                    self._end(one)
            case Close():
                assert one.is_leaving
                assert not one.is_told
                one.is_settled = True
                self.wanted.closed(one.slot)
            case Count() if self.develops:  # it has not listened
                one.is_settled = True
                self.wanted.rests(one.slot)
            case Count():
                assert one.is_failed
                assert not one.is_settled
                one.is_settled = True
                self.wanted.ended(one.slot, self.now, 0.5)
            case Fail(_, stays):
                self._fail(one, stays)
            case Forget():
                assert one.is_gone
                del self.processes[one.id]

    def _fail(self, one: Seen, stays: int | None) -> None:
        assert one.is_gone
        assert not one.is_accepted
        one.is_settled = True
        reload = self.wanted._requests[0] if self.wanted._is_begun else None
        is_in_reload = isinstance(reload, Reload)
        is_of_reload = is_in_reload and one.generation == self.wanted.want.generation
        error = StartupError("as it should")
        if one.id in self._lacking:
            restarts = self.wanted.restarts
            is_of_reload = self.wanted.lacked(one, error, self.now, 0.5) and is_of_reload
            assert self.wanted.restarts == restarts
        else:
            self.wanted.failed(one, error, self.now, 0.5, stays=stays is not None)
        if stays is not None:
            assert self.processes[stays].is_up
            self.processes[stays].is_due = False
        if is_of_reload:
            assert reload is not None
            assert isinstance(reload.error, ReloadError)

    # ---- what is promised

    def _check_start(self, action: Start) -> None:
        others = list(self.processes.values())
        assert self.now >= self.wanted.not_before.get(action.slot, 0.0), "earlier than the restart policy says"
        if isinstance(action.slot, str):
            assert not [one for one in others if one.slot == action.slot], "two of an agent"
            assert action.instead_of is None
        if action.instead_of is not None:
            in_slot = [one for one in others if one.slot == action.slot]
            assert all(one.is_accepted for one in in_slot), "a second one, beside one that starts"
            if not self.develops:
                assert all(one.is_accepted and not one.is_told for one in others), "more than one is being replaced"
            assert self.processes[action.instead_of].is_up
        else:
            in_slot = [one for one in others if one.slot == action.slot]
            assert not any(one.is_up for one in in_slot), "a second one, instead of nobody"

    def _check_leave(self, one: Seen) -> None:
        want = self.wanted.want
        if one.slot in want.slots:
            if isinstance(one.slot, int):
                new = self.current_besides(one)
                assert one.generation < new.generation or one.is_due
                assert new.ports >= one.ports, "the new one does not listen where the old one does"
            else:
                assert one.generation < want.generation or one.is_due
                others = [
                    other for other in self.processes.values() if isinstance(other.slot, int) or not self.develops
                ]
                assert all(other.is_accepted for other in others), "the workers have not shown that the code can start"
                assert self.develops or not any(other.is_told for other in others)
        elif want.stop and isinstance(one.slot, str):
            assert not any(isinstance(other.slot, int) for other in self.processes.values()), "agents come last"

    def current_besides(self, one: Seen) -> Seen:
        others = [other for other in self.of(one.slot) if other is not one and other.is_accepted and other.is_up]
        assert len(others) == 1, "the slot loses its worker"
        return others[0]

    def _check_kill(self, one: Seen, number: signal.Signals, reason: str) -> None:
        assert not one.is_gone
        assert number not in one.signals
        want = self.wanted.want
        match reason, number:
            case "start_timeout", signal.SIGKILL:
                assert not one.is_accepted
                assert self.now >= one.since + START_TIMEOUT
            case "hang_timeout", signal.SIGABRT:
                assert one.hung_at is not None
            case "hang_timeout", signal.SIGKILL:
                assert self.now >= one.signals[signal.SIGABRT] + ABORT_TIMEOUT
            case "not wanted", signal.SIGKILL:
                assert want.stop == "at once" or not one.is_accepted
                is_dropped = self.develops and one.generation != want.generation
                assert want.stop == "at once" or one.slot not in want.slots or is_dropped
            case _:
                raise AssertionError((reason, number))

    def _check_deadlines(self) -> None:
        """A look at the times the plan has named is enough to keep all deadlines."""
        for one in self.processes.values():
            if one.is_gone or signal.SIGKILL in one.signals:
                continue
            deadlines = []
            if one.is_forked and not one.is_accepted and not one.is_failed:
                deadlines.append(one.since + START_TIMEOUT)
            if one.hung_at is not None:
                assert signal.SIGABRT in one.signals
                deadlines.append(one.signals[signal.SIGABRT] + ABORT_TIMEOUT)
            assert self.now < min(deadlines, default=math.inf)
            assert self.wake <= min(deadlines, default=math.inf)

    def check_at_rest(self) -> None:
        """What is wanted is there, as far as the restart policy allows, and nothing else."""
        wanted = self.wanted
        assert wanted.begin() is None
        assert wanted.finish(self.processes.values()) is None
        assert not wanted._requests
        for slot in wanted.want.slots:
            if wanted.may_start.get(slot) == math.inf:
                assert len(self.of(slot)) <= 1  # one that has a limit, if it could not be replaced
            else:
                one = self.current(slot)
                assert one.generation >= wanted.want.generation
        assert all(one.slot in wanted.want.slots for one in self.processes.values())
        assert len(self.processes) == len({one.slot for one in self.processes.values()})
