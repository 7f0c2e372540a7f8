"""What a cluster does next: single situations, and thousands of histories of a cluster without processes."""

from __future__ import annotations

import math
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocluster._supervise.plan import (
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
    Want,
    awaits_heir,
    is_settled,
    plan,
)
from aiocluster._supervise.wanted import Scale, StartAgents
from aiocluster.errors import ReloadError, StartupError
from aiocluster.settings import RestartPolicy

from .world import AGENTS, GRACEFUL_TIMEOUT, START_TIMEOUT, World

NEVER = math.inf


def ready(id: int, slot: Slot = 0, generation: int = 0, ports: int = 1, **more: object) -> Seen:
    one = Seen(id=id, slot=slot, generation=generation, ports=ports, is_forked=True, is_online=True, is_accepted=True)
    return changed(one, **more)


def starting(id: int, slot: Slot = 0, generation: int = 0, **more: object) -> Seen:
    return changed(Seen(id=id, slot=slot, generation=generation, is_forked=True), **more)


def changed(one: Seen, **more: object) -> Seen:
    for name, value in more.items():
        setattr(one, name, value)
    return one


def leaving(id: int, slot: Slot = 0, **more: object) -> Seen:
    return changed(ready(id, slot, is_leaving=True, is_told=True), **more)


def test_of_those_that_have_reached_a_limit_the_oldest_has_its_turn() -> None:
    """Under load the first slots' new workers reach theirs again before the last slot's old one would be looked at."""
    seen = [ready(8, 0, is_due=True), ready(7, 1, is_due=True), ready(3, 2, is_due=True)]
    assert plan(Want(workers=(0, 1, 2)), seen, {}, 0.0)[0] == [Start(2, 0, 3)]


def failed(one: Seen, *, is_gone: bool = False) -> Seen:
    return changed(one, is_failed=True, is_gone=is_gone)


TWO = Want(workers=(0, 1))
NEW = Want(workers=(0, 1), generation=1)
AGENT = Want(agents=("a",), workers=(0,))
STOP = Want(agents=("a",), workers=(0, 1), stop="gracefully")
KILL = Want(agents=("a",), workers=(0, 1), stop="at once")
NONE: dict[Slot, float] = {}
ABRT, SIGKILL = signal.SIGABRT, signal.SIGKILL


@pytest.mark.parametrize(
    ("want", "seen", "may_start", "actions", "wake"),
    [
        pytest.param(TWO, [], NONE, [Start(0, 0), Start(1, 0)], NEVER, id="all slots are filled side by side"),
        pytest.param(AGENT, [], NONE, [Start("a", 0), Start(0, 0)], NEVER, id="agents first"),
        pytest.param(TWO, [ready(1), ready(2, 1)], NONE, [], NEVER, id="all is well"),
        pytest.param(TWO, [ready(1), Seen(id=2, slot=1)], NONE, [], NEVER, id="a fork has no deadline"),
        pytest.param(TWO, [ready(1), starting(2, 1, since=95.0)], NONE, [], 125.0, id="a start has one"),
        pytest.param(
            TWO,
            [ready(1), starting(2, 1, since=70.0)],
            NONE,
            [Kill(2, SIGKILL, "start_timeout")],
            NEVER,
            id="a start that takes too long is ended",
        ),
        pytest.param(
            TWO,
            [ready(1), starting(2, 1, is_online=True)],
            NONE,
            [Accept(2)],
            100.0,
            id="online is enough for a first one",
        ),
        pytest.param(TWO, [ready(1)], {1: 100.0}, [Start(1, 0)], NEVER, id="a slot is filled when it may be"),
        pytest.param(TWO, [ready(1)], {1: 100.5}, [], 100.5, id="a slot is not filled before it may be"),
        pytest.param(TWO, [ready(1)], {1: NEVER}, [], NEVER, id="a closed slot stays empty"),
        # ends
        pytest.param(TWO, [failed(ready(1)), ready(2, 1)], NONE, [Count(1)], 100.0, id="an unasked end counts"),
        pytest.param(
            TWO,
            [changed(failed(ready(1)), is_settled=True), ready(2, 1)],
            NONE,
            [Start(0, 0)],
            NEVER,
            id="a failed one may finish what it has beside its replacement",
        ),
        pytest.param(
            AGENT,
            [changed(failed(ready(1, "a")), is_settled=True), ready(2)],
            NONE,
            [],
            NEVER,
            id="an agent's replacement waits until the failed one is gone",
        ),
        pytest.param(TWO, [ready(1, is_leaving=True), ready(2, 1)], NONE, [Close(1)], 100.0, id="it leaves by itself"),
        pytest.param(
            TWO, [failed(starting(1)), ready(2, 1)], NONE, [], NEVER, id="a failed start counts when it is gone"
        ),
        pytest.param(
            TWO, [failed(starting(1), is_gone=True), ready(2, 1)], NONE, [Fail(1, None)], 100.0, id="a failed start"
        ),
        pytest.param(
            TWO,
            [ready(1, ports=0), failed(starting(3, instead_of=1), is_gone=True), ready(2, 1)],
            NONE,
            [Fail(3, 1)],
            100.0,
            id="a failed replacement, and who stays",
        ),
        pytest.param(
            TWO,
            [changed(failed(ready(1), is_gone=True), is_settled=True), ready(2, 1)],
            NONE,
            [Forget(1)],
            100.0,
            id="gone",
        ),
        # replacements
        pytest.param(NEW, [ready(1), ready(2, 1)], NONE, [Start(0, 1, 1)], NEVER, id="a reload replaces one at a time"),
        pytest.param(
            NEW,
            [ready(1), starting(3, 0, 1, instead_of=1, since=99.0), ready(2, 1)],
            NONE,
            [],
            129.0,
            id="waits for it",
        ),
        pytest.param(
            NEW,
            [ready(1), starting(3, 0, 1, instead_of=1, since=99.0, is_online=True, ports=0), ready(2, 1)],
            NONE,
            [],
            129.0,
            id="online is not enough for a replacement",
        ),
        pytest.param(
            NEW,
            [ready(1), starting(3, 0, 1, instead_of=1, is_online=True, ports=1), ready(2, 1)],
            NONE,
            [Accept(3)],
            100.0,
            id="a replacement listens where its predecessor does",
        ),
        pytest.param(
            NEW, [ready(1), ready(3, 0, 1), ready(2, 1)], NONE, [Leave(1)], 100.0, id="then the predecessor leaves"
        ),
        pytest.param(
            NEW,
            [leaving(1), ready(3, 0, 1), ready(2, 1)],
            NONE,
            [],
            NEVER,
            id="the next one's turn comes when the predecessor is gone",
        ),
        pytest.param(
            NEW,
            [failed(ready(1)), starting(3, 0, 1, instead_of=1, is_online=True, ports=0), ready(2, 1)],
            NONE,
            [Count(1), Accept(3)],
            100.0,
            id="a predecessor that has failed needs no equal",
        ),
        pytest.param(TWO, [ready(1), ready(2, 1, is_due=True)], NONE, [Start(1, 0, 2)], NEVER, id="a limit"),
        pytest.param(
            Want(agents=("a",), workers=(0,), generation=1),
            [ready(1, "a"), ready(2)],
            NONE,
            [Leave(1)],
            NEVER,
            id="an agent leaves first",
        ),
        pytest.param(
            Want(agents=("a",), workers=(0,), generation=1),
            [ready(2)],
            NONE,
            [Start("a", 1)],
            NEVER,
            id="then it is started anew, and the workers wait",
        ),
        # surplus, stop
        pytest.param(Want(workers=(0,)), [ready(1), ready(2, 1)], NONE, [Leave(2)], 100.0, id="surplus"),
        pytest.param(
            Want(workers=(0,)),
            [ready(1), Seen(id=2, slot=1)],
            NONE,
            [Kill(2, SIGKILL, "not wanted")],
            NEVER,
            id="a surplus start is ended",
        ),
        pytest.param(STOP, [ready(1, "a"), ready(2), ready(3, 1)], NONE, [Leave(2), Leave(3)], 100.0, id="stop"),
        pytest.param(STOP, [ready(1, "a"), leaving(2)], NONE, [], NEVER, id="agents wait for workers"),
        pytest.param(STOP, [ready(1, "a")], NONE, [Leave(1)], 100.0, id="agents at last"),
        pytest.param(
            STOP,
            [ready(2, is_leaving=True)],
            NONE,
            [Leave(2)],
            100.0,
            id="one that leaves already may get a shorter deadline",
        ),
        pytest.param(
            KILL,
            [ready(1, "a"), leaving(2), starting(3, 1)],
            NONE,
            [Kill(1, SIGKILL, "not wanted"), Kill(2, SIGKILL, "not wanted"), Kill(3, SIGKILL, "not wanted")],
            NEVER,
            id="stop at once",
        ),
        pytest.param(KILL, [ready(1, signals={SIGKILL: 99.0})], NONE, [], NEVER, id="killed once"),
        # deadlines
        pytest.param(
            TWO,
            [ready(1, is_leaving=True, is_settled=True), ready(2, 1)],
            {0: NEVER},
            [],
            NEVER,
            id="one that leaves of its own accord is left alone",
        ),
        pytest.param(
            TWO, [ready(1, hung_at=100.0), ready(2, 1)], NONE, [Kill(1, ABRT, "hang_timeout")], NEVER, id="blocked"
        ),
        pytest.param(
            TWO, [ready(1, hung_at=99.9, signals={ABRT: 99.9}), ready(2, 1)], NONE, [], 100.4, id="it writes its stacks"
        ),
        pytest.param(
            TWO,
            [ready(1, hung_at=99.0, signals={ABRT: 99.5}), ready(2, 1)],
            NONE,
            [Kill(1, SIGKILL, "hang_timeout")],
            NEVER,
            id="blocked, and ignores SIGABRT",
        ),
    ],
)
def test_single_situations(
    want: Want, seen: list[Seen], may_start: dict[Slot, float], actions: list[Action], wake: float
) -> None:
    assert plan(want, seen, may_start, 100.0) == (actions, wake)


@pytest.mark.parametrize(
    ("want", "seen", "may_start", "settled"),
    [
        (TWO, [ready(1), ready(2, 1)], NONE, True),
        (TWO, [ready(1)], NONE, False),
        (TWO, [ready(1)], {1: 105.0}, True),
        (TWO, [ready(1), starting(2, 1)], {1: 99.0}, False),
        (TWO, [ready(1), ready(2, 1), leaving(3, 1)], NONE, False),
        (TWO, [ready(1), ready(2, 1), ready(3, 2)], NONE, False),
        (NEW, [ready(1), ready(2, 1, 1)], NONE, False),
        (NEW, [ready(1, 0, 2), ready(2, 1, 1)], NONE, True),
        (TWO, [ready(1), failed(ready(2, 1))], NONE, False),
        (STOP, [], NONE, True),
        (STOP, [ready(1)], NONE, False),
    ],
)
def test_when_a_request_is_done(want: Want, seen: list[Seen], may_start: dict[Slot, float], settled: bool) -> None:
    assert is_settled(want, seen, may_start) is settled


# ---- stories


def entered(workers: int = 3, agents: tuple[str, ...] = (), policy: RestartPolicy | None = None) -> World:
    world = World(policy or RestartPolicy())
    world.enter(workers, agents)
    world.check_at_rest()
    return world


def starts(world: World) -> list[Slot]:
    return [action.slot for action in world.actions if isinstance(action, Start)]


def test_agents_are_up_before_the_first_worker_is_started() -> None:
    world = World(RestartPolicy())
    world.enter(2, AGENTS)
    accepted = [action for action in world.actions if isinstance(action, Start | Accept)]
    assert [type(action) for action in accepted] == [Start, Start, Accept, Accept, Start, Start, Accept, Accept]
    assert starts(world) == ["a", "b", 0, 1]


def test_a_first_worker_that_fails_ends_the_start() -> None:
    world = World(RestartPolicy())
    request = Scale(workers=2)
    world.wanted.ask(request)
    world.step()
    first, second = world.processes.values()
    world.end(first)
    assert world.finished == [request]
    assert isinstance(request.error, StartupError)
    assert second.is_gone
    assert not world.processes
    assert world.wanted.restarts == 0


def test_an_agent_that_fails_at_first_ends_the_start() -> None:
    world = World(RestartPolicy())
    request = StartAgents(agents=AGENTS)
    world.wanted.ask(request)
    world.step()
    world.come_online(world.coming("b"))
    world.end(world.coming("a"))
    assert world.finished == [request]
    assert isinstance(request.error, StartupError)
    assert starts(world) == ["a", "b"]
    world.check_at_rest()
    assert list(world.wanted.want.agents) == ["b"]


def test_a_scale_does_not_fail_with_another_slot() -> None:
    world = entered(1, policy=RestartPolicy(backoff=(1.0, 5.0)))
    request = world.scale(2)
    world.end(world.current(0))
    world.pass_time(1.0)
    world.end(world.coming(0))
    assert request.error is None
    world.go_well()
    assert world.finished[-1] is request
    assert request.error is None
    assert world.wanted.restarts == 2
    world.check_at_rest()


def test_a_slot_that_keeps_failing_does_not_delay_another() -> None:
    world = entered(2, policy=RestartPolicy(backoff=(0.0, 5.0)))
    for _ in range(4):
        world.end(world.current(0))
        world.go_well()
    now = world.now
    world.end(world.current(1))
    world.come_online(world.coming(1))
    assert world.now == now


def test_a_scale_that_fails_keeps_the_new_ones_that_are_there() -> None:
    world = entered(1)
    request = world.scale(4)
    world.come_online(world.coming(2))
    world.end(world.coming(1))
    assert isinstance(request.error, StartupError)
    assert list(world.wanted.want.workers) == [0, 2]
    world.go_well()
    world.check_at_rest()
    world.scale(3)
    world.go_well()
    assert list(world.wanted.want.workers) == [0, 1, 2]
    world.check_at_rest()


def test_after_a_scale_that_has_failed_the_next_one_makes_the_slots_dense_again() -> None:
    world = entered(1)
    world.scale(3)
    world.come_online(world.coming(2))
    world.end(world.coming(1))
    assert list(world.wanted.want.workers) == [0, 2]
    world.scale(2)
    world.go_well()
    assert list(world.wanted.want.workers) == [0, 1]
    world.check_at_rest()


@pytest.mark.parametrize("replaced", range(3))
def test_a_replacement_that_fails_ends_a_reload_and_the_old_ones_stay(replaced: int) -> None:
    world = entered(3)
    old = [world.current(slot) for slot in range(3)]
    request = world.reload()
    for slot in range(replaced):
        world.come_online(world.coming(slot))
        world.end(old[slot])
    world.fail(world.coming(replaced))
    world.end(world.coming(replaced))
    assert world.finished[-1] is request
    assert isinstance(request.error, ReloadError)
    assert str(request.error) == "the reload has been given up, the old workers stay: as it should"
    assert isinstance(request.error.__cause__, StartupError)
    world.pass_time(1000)
    assert [one.is_up for one in old] == [False] * replaced + [True] * (3 - replaced)
    assert starts(world)[3:] == list(range(replaced + 1))
    world.check_at_rest()
    again = world.reload()
    world.go_well()
    assert again.error is None
    assert starts(world)[3 + replaced + 1 :] == [0, 1, 2]
    assert world.wanted.restarts == 0


def test_a_replacement_that_never_listens_ends_a_reload_at_start_timeout() -> None:
    world = entered(1)
    request = world.reload()
    new = world.coming(0)
    world.pass_time(3)
    world.come_online(new, ports=1)
    world.pass_time(START_TIMEOUT - 0.1)
    assert not new.is_gone
    world.pass_time(0.2)
    assert isinstance(request.error, ReloadError)
    world.check_at_rest()


def test_an_agent_whose_replacement_fails_in_a_reload_is_left_to_the_restart_policy() -> None:
    world = entered(1, ("a",), RestartPolicy(limit=5, backoff=(1.0, 5.0)))
    request = world.reload()
    world.end(world.current_or_leaving("a"))
    world.end(world.coming("a"))
    assert isinstance(request.error, ReloadError)
    assert world.wanted.restarts == 1
    assert not world.of("a")
    world.pass_time(1.0)
    world.come_online(world.coming("a"))
    world.check_at_rest()


def test_a_failed_replacement_for_a_limit_goes_by_the_restart_policy() -> None:
    world = entered(2, policy=RestartPolicy(limit=3, backoff=(1.0, 60.0)))
    old = world.current(1)
    waits = []
    for _ in range(4):
        old.is_due = True
        world.step()
        began = world.now
        world.pass_time(max(0.0, world.wake - world.now) if not world.of(1)[1:] else 0.0)
        waits.append(world.now - began)
        world.end(world.coming(1))
        assert old.is_up
        assert not old.is_due
    assert waits == [0.0, 1.0, 1.0, 2.0]
    assert world.wanted.is_given_up
    old.is_due = True
    world.pass_time(1000)
    assert world.of(1) == [old]
    assert world.wanted.restarts == 3
    world.reload()
    world.go_well()
    assert not old.is_up
    world.check_at_rest()


def test_a_limit_is_not_retried_while_the_policy_says_wait_but_a_reload_is() -> None:
    world = entered(1, policy=RestartPolicy(backoff=(100.0, 200.0)))
    old = world.current(0)
    old.is_due = True
    world.step()
    world.end(world.coming(0))
    old.is_due = True
    world.pass_time(99.0)
    assert world.of(0) == [old]
    world.reload()
    world.come_online(world.coming(0))
    world.end(old)
    world.check_at_rest()


# ---- want of resources


def test_want_of_resources_is_no_unasked_end_and_is_retried() -> None:
    world = entered(2, policy=RestartPolicy(limit=1))
    world.end(world.current(1))
    began = world.now
    for _ in range(50):
        world.lack(world.coming(1))
        assert not world.of(1)
        world.pass_time(world.wake - world.now)
    assert 20.0 < world.now - began < 60.0
    assert world.wanted.restarts == 1  # that of the one that had ended
    world.go_well()
    world.check_at_rest()
    assert not world.wanted.shortages


def test_first_workers_wait_for_resources_as_long_as_a_start_may_take() -> None:
    world = World(RestartPolicy())
    request = Scale(workers=2)
    world.wanted.ask(request)
    world.step()
    world.come_online(world.coming(0))
    while world.now < START_TIMEOUT - 1.5:
        world.lack(world.coming(1))
        world.pass_time(world.wake - world.now)
    assert request not in world.finished
    world.come_online(world.coming(1))
    assert world.finished == [request]
    assert request.error is None
    world.check_at_rest()


def test_first_workers_that_lack_resources_for_too_long_end_the_start() -> None:
    world = World(RestartPolicy())
    request = Scale(workers=2)
    world.wanted.ask(request)
    world.step()
    world.come_online(world.coming(0))
    while not world.finished:
        world.lack(world.coming(1))
        world.pass_time(max(0.0, world.wake - world.now) if not world.finished else 0.0)
    assert START_TIMEOUT <= world.now < START_TIMEOUT + 2.0
    assert isinstance(request.error, StartupError)
    assert list(world.wanted.want.workers) == [0]
    world.check_at_rest()


def test_a_reload_waits_for_resources_too_and_the_old_ones_stay() -> None:
    world = entered(2)
    old = [world.current(slot) for slot in range(2)]
    request = world.reload()
    while request not in world.finished:
        for one in [one for one in world.processes.values() if not one.is_accepted]:
            world.lack(one)
        world.pass_time(max(0.0, world.wake - world.now) if not request.error else 0.0)
    assert START_TIMEOUT <= world.now < START_TIMEOUT + 2.0
    assert isinstance(request.error, ReloadError)
    assert all(one.is_up for one in old)
    world.go_well()
    world.check_at_rest()


def test_one_that_left_of_its_own_accord_comes_back_with_a_reload_only() -> None:
    world = entered(2)
    world.leave(world.current(1))
    world.go_well()
    world.pass_time(1000)
    assert not world.of(1)
    request = world.reload()
    world.end(world.coming(1))
    assert isinstance(request.error, ReloadError)
    world.go_well()
    world.pass_time(1000)
    assert not world.of(1)
    world.reload()
    world.go_well()
    assert world.current(1).is_up


def test_one_that_leaves_of_its_own_accord_while_its_replacement_fails_is_not_replaced() -> None:
    world = entered(2)
    request = world.reload()
    world.leave(world.current(0))
    world.end(world.coming(0))
    world.go_well()
    assert isinstance(request.error, ReloadError)
    assert not world.of(0)
    assert world.wanted.restarts == 0


def test_a_slot_that_was_closed_is_open_when_it_is_wanted_again() -> None:
    world = entered(2)
    world.leave(world.current(1))
    world.go_well()
    world.scale(1)
    world.scale(2)
    world.go_well()
    assert world.current(1).is_up


def test_a_reload_does_not_wait_for_the_restart_policy() -> None:
    world = entered(1, policy=RestartPolicy(backoff=(100.0, 200.0)))
    world.end(world.current(0))
    assert not world.of(0)
    world.reload()
    world.come_online(world.coming(0))
    world.check_at_rest()


def test_it_gives_up_after_the_limit_and_a_reload_fills_the_slots_once_more() -> None:
    world = entered(2, policy=RestartPolicy(limit=2, backoff=(0.0, 0.0)))
    for slot in (0, 1):
        world.end(world.current(slot))
        world.go_well()
    assert not world.wanted.is_given_up
    world.end(world.current(0))
    assert world.wanted.is_given_up
    world.end(world.current(1))
    world.pass_time(1000)
    assert not world.processes
    world.reload()
    world.go_well()
    assert len(world.processes) == 2
    world.end(world.current(0))
    world.pass_time(1000)
    assert not world.of(0)
    assert world.wanted.restarts == 2


def test_requests_take_turns() -> None:
    world = entered(1)
    requests = [world.scale(3), world.reload(), world.scale(2)]
    assert [one.slot for one in world.processes.values()] == [0, 1, 2]
    world.go_well()
    assert world.finished[-3:] == requests
    assert all(request.error is None for request in requests)
    assert [one.generation for one in world.processes.values()] == [1, 1]


def test_a_stop_gives_requests_up() -> None:
    world = entered(1)
    requests = [world.reload(), world.scale(3)]
    world.stop(graceful=True)
    assert world.finished[-2:] == requests
    world.go_well()
    assert not world.processes


def test_a_stop_at_once_stays_one() -> None:
    world = entered(2)
    world.stop(graceful=True)
    assert len(world.processes) == 2
    world.stop(graceful=False)
    world.stop(graceful=True)
    assert world.wanted.want.stop == "at once"
    assert not world.processes


# ---- while the code is edited


def edited(workers: int, agents: tuple[str, ...] = ()) -> World:
    world = World(RestartPolicy(), develops=True)
    world.enter(workers, agents)
    return world


def test_an_edit_swaps_all_workers_at_once_and_then_the_agents() -> None:
    world = edited(3, AGENTS)
    old = {one.id for one in world.processes.values()}
    world.edit()
    assert [world.coming(slot).instead_of in old for slot in range(3)] == [True] * 3
    assert all(world.current(agent).id in old for agent in AGENTS)
    for slot in range(3):
        world.come_online(world.coming(slot))
    assert all(world.of(agent)[0].is_told for agent in AGENTS)
    world.go_well()
    assert not old & set(world.processes)
    world.check_at_rest()


def test_old_ones_stay_while_the_code_is_broken_and_the_other_new_ones_are_dropped() -> None:
    world = edited(3, AGENTS)
    old = set(world.processes)
    request = world.reload()
    world.end(world.coming(1))
    assert isinstance(request.error, ReloadError)
    assert request in world.finished
    assert set(world.processes) == old
    assert all(one.is_at_work for one in world.processes.values())
    fails = [action for action in world.actions if isinstance(action, Fail)]
    assert len(fails) == 1, "only the first one's failure counts"
    world.edit()
    world.go_well()
    assert not old & set(world.processes)
    world.check_at_rest()


def test_an_edit_during_a_swap_drops_it_and_begins_another_one() -> None:
    world = edited(2)
    request = world.reload()
    dropped = [world.coming(0), world.coming(1)]
    world.edit()
    assert all(SIGKILL in one.signals for one in dropped)
    assert [world.coming(slot).generation for slot in range(2)] == [2, 2]
    assert request not in world.finished
    world.go_well()
    assert request.error is None
    assert world.finished[-1] is request
    world.check_at_rest()


def test_an_edit_while_the_first_ones_start_has_them_start_anew() -> None:
    world = World(RestartPolicy(), develops=True)
    world.wanted.ask(Scale(workers=2))
    world.step()
    dropped = {one.id for one in world.processes.values()}
    world.edit()
    world.go_well()
    assert len(world.processes) == 2
    assert not dropped & set(world.processes)
    assert [one.generation for one in world.processes.values()] == [1, 1]


def test_first_ones_that_fail_wait_for_the_next_edit() -> None:
    world = World(RestartPolicy(limit=0), develops=True)
    request = Scale(workers=2)
    world.wanted.ask(request)
    world.step()
    for slot in range(2):
        world.end(world.coming(slot))
    world.pass_time(1000)
    assert world.finished == [request]
    assert request.error is None
    assert world.wanted.closed_slots == {0, 1}
    assert not world.processes
    world.edit()
    world.go_well()
    assert len(world.processes) == 2
    assert not world.wanted.closed_slots


def test_what_ends_before_it_has_listened_waits_for_the_next_edit_and_so_does_an_agent_that_fails() -> None:
    world = edited(2, ("a",))
    world.end(world.current(0))
    world.pass_time(1000)
    assert not world.of(0)
    world.edit()
    for slot in range(2):
        world.come_online(world.coming(slot))
    world.end(world.of("a")[0])
    world.end(world.coming("a"))
    world.go_well()
    world.pass_time(1000)
    assert not world.of("a")
    assert world.wanted.restarts == 0
    world.edit()
    world.go_well()
    assert world.current("a").is_up


def test_an_edit_ends_a_giving_up() -> None:
    world = World(RestartPolicy(limit=0), develops=True)
    world.enter(1)
    world.wanted.ended(0, world.now, 0.5)
    assert world.wanted.is_given_up
    world.edit()
    assert not world.wanted.is_given_up
    world.wanted.ended(0, world.now, 0.5)
    assert world.wanted.is_given_up


# ---- histories

KINDS = [
    *["online", "online", "online", "well", "well", "listen", "gone", "gone", "fail", "end", "end", "leave", "lack"],
    *["time", "time", "long", "due", "hang", "scale", "scale", "reload", "reload"],
]
POLICIES = [RestartPolicy(), RestartPolicy(limit=2, period=30.0), RestartPolicy(limit=1000, backoff=(0.0, 1.0))]


def live(world: World, history: bytes) -> None:
    """Each byte is an event: what happens, and to which process."""
    for byte in history:
        kind, number = KINDS[byte % len(KINDS)], byte // len(KINDS)
        processes = [one for one in world.processes.values() if not one.is_gone]
        if kind == "time":
            world.pass_time(number * 0.3)
        elif kind == "long":
            world.pass_time(number * 2.0)
        elif kind == "scale":
            world.scale(1 + number % 4)
        elif kind == "reload" and world.develops:
            world.edit()
        elif kind == "reload":
            world.reload()
        elif processes:
            one = processes[number % len(processes)]
            happen(world, kind, one)


def happen(world: World, kind: str, one: Seen) -> None:
    match kind:
        case "online":
            world.come_online(one)
        case "listen":
            world.come_online(one, ports=1)
        case "gone" if one.is_leaving or one.is_failed:
            world.end(one)
        case "fail":
            world.fail(one)
        case "end":
            world.end(one)
        case "lack":
            world.lack(one)
        case "leave":
            world.leave(one)
        case "due" if one.is_accepted and one.is_up:
            one.is_due = True
            world.step()
        case "hang" if one.is_accepted and one.is_up and one.hung_at is None:
            one.hung_at = world.now
            world.step()
        case "well":
            for other in list(world.processes.values()):
                if not other.is_accepted:
                    world.come_online(other)
                elif not other.is_up:
                    world.end(other)


@pytest.mark.parametrize("develops", [False, True])
@settings(max_examples=settings().max_examples * 10, deadline=None)
@given(st.integers(1, 4), st.sampled_from([(), ("a",), AGENTS]), st.sampled_from(POLICIES), st.binary(max_size=60))
def test_it_always_comes_to_what_is_wanted(
    develops: bool, workers: int, agents: tuple[str, ...], policy: RestartPolicy, history: bytes
) -> None:
    world = World(policy, develops=develops)
    world.enter(workers, agents)
    live(world, history)
    world.go_well()
    world.check_at_rest()


@settings(deadline=None)
@given(st.sampled_from([(), AGENTS]), st.binary(max_size=40), st.booleans(), st.booleans())
def test_a_stop_ends_everything(agents: tuple[str, ...], history: bytes, graceful: bool, obedient: bool) -> None:
    world = World(RestartPolicy())
    world.enter(3, agents)
    live(world, history)
    started = len(starts(world))
    world.stop(graceful=graceful)
    if obedient and graceful:
        world.go_well()
    else:
        world.pass_time(3 * (GRACEFUL_TIMEOUT + 3) if graceful else 0.0)
    assert not world.processes
    assert len(starts(world)) == started


# ---- ports that a failed process has left


@pytest.mark.parametrize(
    ("seen", "may_start", "until"),
    [
        ([], {}, NEVER),  # it will be started
        ([], {0: 500.0}, NEVER),  # later
        ([], {0: NEVER}, -NEVER),  # not before a reload
        ([ready(1, is_failed=True)], {}, NEVER),
        ([Seen(id=2, slot=0)], {}, NEVER),  # it is starting, within a time of its own
        ([ready(2, since=100.0)], {}, 110.0),
        ([ready(1, is_failed=True), ready(2, since=100.0)], {}, 110.0),
        ([ready(2, slot=1, since=100.0)], {}, NEVER),  # another slot's
    ],
)
def test_until_when_somebody_may_come_for_them(seen: list[Seen], may_start: dict[Slot, float], until: float) -> None:
    want = Want(workers=(0, 1), start_timeout=10.0)
    assert awaits_heir(want, seen, may_start, 0) == until


def test_nobody_comes_for_those_of_a_slot_that_is_not_wanted() -> None:
    assert awaits_heir(Want(workers=(0,)), [], {}, 1) == -NEVER
    assert awaits_heir(Want(workers=(0,), stop="gracefully"), [], {}, 0) == -NEVER
