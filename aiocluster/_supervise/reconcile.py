"""`Reconciler`: the task that brings a cluster to its wanted state, by carrying out the actions of `plan`."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from .._primary.primary import Primary
from .._primary.session import Session, log_failure
from .._primary.worker_process import WorkerProcess
from ..errors import ClusterError, RestartLimitError
from ..events import Error, GiveUp, Listening, Reason
from ..settings import Agent, RestartPolicy
from .autoscaler import Autoscaler
from .bounds import Bounds
from .failures import Failure, Failures, last_words, why_failed, why_in_vain
from .given import is_of_fleet
from .health import HealthCheck, Limits, Sample
from .plan import Accept, Action, Close, Count, Fail, Forget, Kill, Leave, Slot, Start, awaits_heir, plan
from .process import Process
from .progress import Progress
from .readiness import Readiness
from .wanted import Reload, Request, Scale, StartAgents, Wanted

if TYPE_CHECKING:
    from .._fleet.lease import Lease

logger = logging.getLogger("aiocluster.cluster")

_REASONS: Mapping[str, Reason] = {"not wanted": "told", "start_timeout": "late", "hang_timeout": "hung"}
"""Why a worker ended, by why it was sent a signal."""

_LAST_EXIT = 1.0  # seconds to wait for the last worker's exit, so that the error can quote its stderr


def look_at(process: Process, now: float) -> None:
    """Updates the observed state of a process. Only this and `_sample` read a worker's state."""
    if process.worker is None:
        process.is_failed = process.is_gone = process.fork is not None and process.fork.done()
        return
    session = process.worker._session
    life = session.life
    if not process.is_forked:
        process.is_forked = True
        process.signals.clear()  # sent before the worker existed, when the fork was cancelled too late
    if not process.is_online and session.has_been_online:
        process.is_online, process.since = True, now
    process.ports = len(session.backend.ports)
    process.is_leaving = life.is_leaving
    process.is_gone = life.is_gone
    process.is_failed = process.is_failed or life.is_missed
    if session.spent is not None and process.is_accepted and not process.is_due:
        logger.info("%s is replaced: %s", _who(session.worker), session.spent)
        process.is_due = True


def _who(worker: WorkerProcess) -> str:
    return f"worker {worker.id} (pid {worker.pid})"


def _sample(session: Session) -> Sample:
    return Sample(session.silence, session.heartbeat, session.age, session.memory, session.backend.accepted)


class _Delay:
    """A wait that can be skipped."""

    def __init__(self) -> None:
        self._over: asyncio.Event | None = None

    async def wait(self, seconds: float) -> None:
        """Waits so many seconds, unless it is skipped."""
        self._over = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass
        finally:
            self._over = None

    def skip(self) -> bool:
        """Ends the wait. Returns whether there was one."""
        if self._over is None or self._over.is_set():
            return False
        self._over.set()
        return True


class Reconciler:
    """Keeps a cluster in its wanted state.

    Args:
        primary: Forks the workers. Its settings are read at each use, because they may change; see `settings_changed`.
        chance: Returns random numbers from 0 to 1.

    Attributes:
        given_up: Why workers are no longer replaced: too many have ended, or none can work. None while they are.
        over: Set when the work is over: it was stopped, it gave up, or every worker left by its own choice.
        is_filled: Set while nothing is asked for, and no slot stays empty until a reload.
        autoscaler: Has the number of workers follow the load.
        readiness: Whether the workers are ready to serve.
        looked: Called after each step, when `readiness` may have changed.
        leases: The leases of the agents that the fleet has one of, by name.
    """

    def __init__(self, primary: Primary, *, chance: Callable[[], float] = random.random) -> None:
        self.given_up: Exception | None = None
        self.over: asyncio.Event = asyncio.Event()
        self.is_filled: asyncio.Event = asyncio.Event()
        self.readiness = Readiness(primary.settings.start_timeout)
        self.looked: Callable[[], None] = lambda: None
        self.leases: Mapping[str, Lease] = {}
        self._primary = primary
        self._chance = chance
        settings = primary.settings
        self._wanted = Wanted(settings.restart or None, settings.start_timeout, develops=self._develops)
        self._failures = Failures()
        self._told: set[tuple[int, Slot | None]] = set()  # while the code is edited: whose failure has been told
        self._progress = Progress()
        self._started: set[Slot] = set()
        self._has_scaled = False  # once it has, a start is no first one
        self._processes: dict[int, Process] = {}
        self.autoscaler: Autoscaler = Autoscaler(
            self._wanted, self._processes, primary._shared.ports.pressure, self.wake
        )
        self._last_id = 0
        self._ready: dict[Slot, WorkerProcess] = {}
        self._unasked_ends: list[tuple[float, WorkerProcess]] = []
        self._waiting: dict[Request, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()
        self._next_check = math.inf
        self._task: asyncio.Task[None] | None = None
        self._giving_up: asyncio.Task[None] | None = None
        self._children: set[asyncio.Task[None]] = set()
        self._winding_down: asyncio.Task[None] | None = None
        self._delay_of_stop = _Delay()

    # ---- settings

    def settings_changed(self) -> None:
        """Has what is decided from now on go by the settings as they are now."""
        settings = self._primary.settings
        self._wanted.setup(settings.restart or None, settings.start_timeout, develops=self._develops)
        self.readiness.patience = settings.start_timeout
        for process in self._processes.values():
            process.is_due = False  # the next health check will set it again
        self.wake()

    @property
    def start_timeout(self) -> float:
        """Seconds a process may take to start."""
        return self._primary.settings.start_timeout

    @property
    def _develops(self) -> bool:
        """Whether the code is being edited: what can't work is tried again by the next reload, and ends nothing."""
        return bool(self._primary.settings.reload_on_change)

    @property
    def _agents(self) -> Mapping[str, Any]:
        return self._primary.settings.agents or {}

    @property
    def _limits(self) -> Limits:
        settings = self._primary.settings
        return Limits(settings.hang_timeout, settings.max_memory, settings.max_lifetime, settings.max_connections)

    # ---- requests

    @property
    def is_running(self) -> bool:
        """Whether it has begun and has not been told to stop."""
        return self._task is not None and not self._task.done() and not self.is_stopping

    @property
    def is_stopping(self) -> bool:
        """Whether it has been told to stop."""
        return self._winding_down is not None or self._wanted.want.stop is not None

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""
        return self._wanted.is_reloading

    @property
    def bounds(self) -> Bounds:
        """The least and the most workers once all requests are done."""
        return self._wanted.bounds

    @property
    def restarts(self) -> int:
        """How many unexpected ends led to a replacement."""
        return self._wanted.restarts

    @property
    def agents(self) -> dict[str, WorkerProcess]:
        """The agents by name. An agent that has ended stays here until its replacement is online."""
        return {name: self._ready[name] for name in self._agents if name in self._ready}

    async def start_agents(self) -> None:
        """Starts the agents. Returns when all are online; raises the first failure."""
        own = tuple(name for name, agent in self._agents.items() if not is_of_fleet(agent))
        await self._ask(StartAgents(agents=own))

    async def scale(self, bounds: Bounds) -> None:
        """Changes the number of workers. Returns when the new ones are online and the surplus ones gone."""
        await self._ask(Scale(workers=bounds))

    async def reload(self) -> None:
        """Replaces all processes, after what is under way. A call that finds a reload queued waits for that one.

        While the code is edited, what is under way begins anew instead.
        """
        await self._ask(self._overtake() or self._wanted.next_reload or Reload())

    def reload_anew(self) -> bool:
        """Has the request under way, or the reload that is queued, use the code as it is now. Returns whether one does.

        Only while the code is edited.
        """
        return self._overtake() is not None or self._wanted.next_reload is not None

    def _overtake(self) -> Request | None:
        if (overtaken := self._wanted.overtake()) is not None:
            self._reload_begins()
            self.wake()
        return overtaken

    def _reload_begins(self) -> None:
        self._primary._renew_fork_servers()
        self._primary._relays.forget()
        self._failures.forget()
        self._giving_up = None
        self._told.clear()

    @property
    def has_gaps(self) -> bool:
        """Whether any slot stays empty until a reload."""
        return bool(self._wanted.closed_slots)

    @property
    def is_at_work(self) -> bool:
        """Whether any worker or agent does its work."""
        return any(process.is_at_work for process in self._processes.values())

    async def _ask(self, request: Request) -> None:
        """Waits until the request is done. Cancelling the caller does not cancel the request."""
        if request not in self._waiting:
            self._waiting[request] = asyncio.get_running_loop().create_future()
            self._wanted.ask(request)
            self.wake()
        await asyncio.shield(self._waiting[request])

    def _answer(self, request: Request, error: Exception | None) -> None:
        done = self._waiting.pop(request)
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
            done.exception()  # mark it as retrieved, in case nothing awaits it

    async def stop(self, *, graceful: bool) -> None:
        """Ends all workers, then the agents. Returns when they are gone."""
        if self._task is None or self._task.done():  # done: a loop that is being closed has cancelled all tasks
            return
        for request in self._wanted.give_up_requests():
            self._answer(request, ClusterError(f"the cluster is stopping: the {request.name} has been given up"))
        if not graceful:
            self._wanted.stop(graceful=False)
        elif not self.is_stopping:
            self._winding_down = self._child(self._wind_down())
        self.wake()
        await self._stopped.wait()
        if self._giving_up is not None:
            await asyncio.wait([self._giving_up])

    async def _wind_down(self) -> None:
        """Waits for ``drain_delay``, closes the ports, and only then has the workers told to leave."""
        try:
            if self._processes and self.given_up is None:
                await self._delay_of_stop.wait(self._primary.settings.drain_delay)
            await self._primary._shared.ports.drain(users=True)
        finally:
            self._wanted.stop(graceful=True)
            self.wake()

    def skip_drain_delay(self) -> bool:
        """Ends the ``drain_delay`` of a stop that is in it. Returns whether one was."""
        return self._delay_of_stop.skip()

    # ---- the task

    def begin(self) -> None:
        """Starts the task. The caller must call `end` later."""
        self._primary._shared.changed = self.wake
        self._primary._shared.untold = self._on_untold
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """Has the task run a step, because something has changed."""
        self._changed.set()

    async def end(self) -> None:
        """Ends the task and its child tasks. Kills processes that are still starting; the others keep running."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        try:
            while True:
                self._changed.clear()
                wake = self._step(time.monotonic())
                try:
                    async with asyncio.timeout(max(0.0, wake - time.monotonic()) if wake < math.inf else None):
                        await self._changed.wait()
                except TimeoutError:
                    pass
        except Exception:
            logger.exception("the cluster is no longer supervised")
            raise
        finally:
            self.autoscaler.stop()
            while self._children:  # a stop may begin meanwhile
                for child in self._children:
                    child.cancel()
                await asyncio.wait(self._children)
            for process in self._processes.values():
                if process.worker is not None and not process.is_accepted:
                    process.worker._session.kill(signal.SIGKILL, "told")
            for request in list(self._waiting):
                self._answer(request, ClusterError("the cluster has ended"))
            self._stopped.set()
            self.over.set()

    def _step(self, now: float) -> float:
        """Does everything that is due. Returns the time of the next step."""
        wanted = self._wanted
        if wanted.want.stop and not self._stopped.is_set():
            self._take_over_others()
        self._check_health_if_due(now)
        self._go_by_leases()
        while True:
            self._look(now)
            actions, wake = plan(wanted.want, self._processes.values(), wanted.not_before, now)
            for action in actions:
                self._carry_out(action, now)
            if actions:
                continue
            if finished := wanted.finish(self._processes.values()):
                self._has_scaled = self._has_scaled or isinstance(finished, Scale)
                self._progress.finished(finished, len(wanted.want.workers), now)
                self._answer(finished, finished.error)
            before = len(wanted.want.workers)
            if (begun := wanted.begin()) is not None:
                self._progress.begun(begun, len(wanted.want.slots), before, now)
            if begun is None and not self._follow_load(now):
                break
            if isinstance(begun, Reload):
                self._reload_begins()
        self._notice_the_end()
        ready = self.look_whether_ready(now)
        self.looked()
        return min(wake, ready, self._next_check, self.autoscaler.next_look, self._close_ports_without_heirs(now))

    def _go_by_leases(self) -> None:
        """Wants the agents whose leases this cluster has. The others must not run, not even until they have left."""
        if not self.leases:
            return
        self._wanted.hold(tuple(name for name, lease in self.leases.items() if lease.is_held))
        for process in self._processes.values():
            lease = self.leases.get(process.slot) if isinstance(process.slot, str) else None
            if lease is None or process.worker is None or process.is_gone:
                continue
            if not lease.is_held or process.token != lease.token:
                process.worker._session.kill(signal.SIGKILL, "told")

    def look_whether_ready(self, now: float) -> float:
        """Updates `readiness`. Returns when to look again."""
        self._look(now)
        return self.readiness.look(self._wanted.bounds.low, self._processes.values(), now)

    def _follow_load(self, now: float) -> bool:
        """Changes the number of workers if the load asks for it. Returns whether it did."""
        if self.is_stopping:
            self.autoscaler.stop()
            return False
        return self.autoscaler.follow(now)

    def _close_ports_without_heirs(self, now: float) -> float:
        """Closes ports that failed workers have left, and that nobody will open. Returns when to look again."""
        ports, wake = self._primary._shared.ports, math.inf
        for slot in list(ports.left):
            until = awaits_heir(self._wanted.want, self._processes.values(), self._wanted.may_start, slot)
            if until <= now:
                ports.abandon(slot)
            else:
                wake = min(wake, until)
        return wake

    def _look(self, now: float) -> None:
        for process in self._processes.values():
            look_at(process, now)

    def _carry_out(self, action: Action, now: float) -> None:
        if isinstance(action, Start):
            self._start(action, now)
            return
        process = self._processes[action.id]
        worker = process.worker
        match action:
            case Accept():
                assert worker is not None
                process.is_accepted = True
                self._ready[process.slot] = worker
                self._wanted.accepted(process.slot)
            case Leave():
                assert worker is not None
                process.is_told = True
                is_limit = process.is_due and self._wanted.want.stop is None
                seconds = self._primary.settings.graceful_timeout
                if isinstance(process.slot, str) and process.slot in self._wanted.want.slots:
                    self._primary._shared.ports.leave_all(worker._session.backend)  # an agent's heir starts after it
                worker._session.tell_to_leave(seconds, "limit" if is_limit else "told")
            case Kill(_, number, reason):
                process.signals[number] = now
                self._kill(process, number, reason)
            case Close():
                process.is_settled = True
                self._ready.pop(process.slot, None)
                self._wanted.closed(process.slot)
            case Count() if self._develops and not self._has_listened(process):
                process.is_settled = True
                self._rests(process)
            case Count() if process.is_first and self._is_in_vain(process):
                process.is_settled = True
                self._end_in_vain(process)
            case Count():
                process.is_settled = True
                self._tell_if_untold(process)
                self._count(process, now)
                self._wanted.ended(process.slot, now, self._chance())
                self._give_up_if_needed(process)
            case Fail(_, stays):
                process.is_settled = True
                self._count(process, now)
                self._fail(process, stays, now)
            case Forget():
                if process.is_accepted and not process.is_settled:  # it has failed on its way out
                    self._tell_if_untold(process)
                del self._processes[process.id]

    # ---- actions

    def _start(self, action: Start, now: float) -> None:
        process = self._add(slot=action.slot, generation=action.generation, instead_of=action.instead_of, since=now)
        process.is_first = not self._has_scaled and action.slot not in self._started
        self._started.add(action.slot)
        process.fork = self._child(self._fork(process))

    def _add(self, **known: Any) -> Process:
        self._last_id += 1
        process = self._processes[self._last_id] = Process(id=self._last_id, **known)
        return process

    def _arguments(self, slot: Slot) -> dict[str, Any]:
        if isinstance(slot, str):
            agent = self._agents[slot]
            if not isinstance(agent, Agent):
                return {"place": slot, "target": agent}
            lease = self.leases.get(slot)
            term = None if lease is None else lease.term()
            return {"place": slot, "target": agent.target, "args": agent.args, "env": agent.env, "term": term}
        weights = self._primary.settings.weights or ()
        return {"place": slot, "weight": weights[slot] if slot < len(weights) else 1}

    async def _fork(self, process: Process) -> None:
        try:
            arguments = self._arguments(process.slot)
            term = arguments.get("term")
            process.token = term.token if term is not None else None
            process.worker = await self._primary._fork(**arguments, timeout=self.start_timeout)
        except Exception as error:
            process.fork_error = error

    def _child(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task that `_run` cancels when it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._children.add(task)
        task.add_done_callback(self._on_child_done)
        return task

    def _on_child_done(self, task: asyncio.Task[None]) -> None:
        self._children.discard(task)
        self.wake()

    def _kill(self, process: Process, number: signal.Signals, why: str) -> None:
        if process.worker is not None:
            process.worker._session.kill(number, _REASONS[why])
        elif process.fork is not None:
            process.fork.cancel()

    def _is_in_vain(self, process: Process) -> bool:
        """Whether every other worker would end as this one, which has never listened."""
        assert process.worker is not None
        return process.worker._session.repeats is not None and not self._has_listened(process)

    def _has_listened(self, process: Process) -> bool:
        return process.worker is not None and Listening.name in process.worker._session.happened

    def _end_in_vain(self, process: Process) -> None:
        """Ends the cluster: a first worker has shown that it can't work."""
        assert process.worker is not None
        failure = why_in_vain(process.worker)
        is_entering = self._wanted.in_vain(process.slot, failure.error)
        if self.given_up is not None:
            return  # others have failed in the same way
        self._failures.tell(failure)
        self.given_up = failure.error
        if not is_entering:
            self._primary._hub.emit(GiveUp((), self._wanted.policy.period if self._wanted.policy else 0.0))
        self.over.set()

    def _on_untold(self, session: Session) -> None:
        """Leaves it to `_fail` and `_carry_out` to tell why one of the cluster's own workers has failed."""
        if all(process.worker is not session.worker for process in self._processes.values()):
            log_failure(session)

    def _tell_if_untold(self, process: Process) -> None:
        worker = process.worker
        if worker is not None and not worker._session.is_failure_told:
            self._failures.tell(why_in_vain(worker))

    def _rests(self, process: Process) -> None:
        """Leaves the slot of a process that has ended before it listened empty until the code has been edited."""
        self._tell_if_news(process)
        if self._is_first_of_its_kind(process):
            who = "a worker" if process.worker is None else _who(process.worker)
            logger.warning("%s has ended before it listened: it is started again when a file changes", who)
        self._ready.pop(process.slot, None)
        self._wanted.rests(process.slot)

    def _tell_if_news(self, process: Process) -> None:
        """Tells an untold failure, unless another process has failed in the same way."""
        assert process.worker is not None
        if not self._failures.knows(process.worker._session.last_words):
            self._tell_if_untold(process)

    def _is_first_of_its_kind(self, process: Process) -> bool:
        """Whether no other process of its generation has failed that runs the same code. Notes that it has."""
        kind = process.generation, process.slot if isinstance(process.slot, str) else None
        is_first = kind not in self._told
        self._told.add(kind)
        return is_first

    def _count(self, process: Process, now: float) -> None:
        """Records an unexpected end, for the event `GiveUp`."""
        if (policy := self._wanted.policy) is None or process.slot in self._wanted.growth.slots:
            return
        ends = [end for end in self._unasked_ends if end[0] >= now - policy.period]
        if process.worker is not None:
            ends.append((now, process.worker))
        self._unasked_ends = ends

    def _fail(self, process: Process, stays: int | None, now: float) -> None:
        if process.slot not in self._wanted.want.slots:
            return  # another one has just made the request fail that both were started for
        failure = why_failed(process, self.start_timeout)
        slot, error, chance = process.slot, failure.error, self._chance()
        is_new = self._is_news(slot, failure) and (not self._develops or self._is_first_of_its_kind(process))
        if failure.is_shortage:
            fails_request = self._wanted.lacked(process, error, now, chance)
        else:
            fails_request = self._wanted.failed(process, error, now, chance, stays=stays is not None)
        is_in_the_error = fails_request and failure.details in str(error)
        if is_new and not is_in_the_error:
            self._failures.tell(failure)
        if is_new and process.worker is None:
            self._primary._hub.emit(Error(None, error))
        if stays is not None:
            self._processes[stays].is_due = False  # the next health check will set it again
        self._give_up_if_needed(process)

    def _is_news(self, slot: Slot, failure: Failure) -> bool:
        """Whether this failure is worth telling: it is not that of a repeated attempt that nobody waits for."""
        growth = self._wanted.growth
        if slot in growth.slots:
            return not growth.failures
        return not (failure.is_shortage and slot in self._wanted.shortages)

    # ---- giving up, and the end

    def _give_up_if_needed(self, process: Process) -> None:
        policy = self._wanted.policy
        if policy is None or not self._wanted.is_given_up:
            return
        if self.given_up is None and self._giving_up is None:
            error = RestartLimitError()
            if not self._develops:
                self.given_up = error
            self._giving_up = self._child(self._give_up(error, process, policy))

    async def _give_up(self, error: RestartLimitError, last: Process, policy: RestartPolicy) -> None:
        until = " until a file changes" if self._develops else ""
        seconds = f"{policy.period:g} seconds"
        text = f"more than {policy.limit} workers ended unasked within {seconds}: no more replacements{until}"
        logger.critical("%s", text, extra={"is_event": not self._develops})
        if last.worker is not None:
            try:
                async with asyncio.timeout(_LAST_EXIT):
                    await last.worker.wait()
            except TimeoutError:
                pass
        error.args = (f"{text}\n\nthe last one: {last_words(last, self.start_timeout)}",)
        exits = tuple(one._session.exit.result() for _, one in self._unasked_ends if one.is_dead())
        self._primary._hub.emit(GiveUp(exits, policy.period))
        if not self._develops:
            self.over.set()

    def _notice_the_end(self) -> None:
        want, closed = self._wanted.want, self._wanted.closed_slots
        if closed or self._wanted.is_changing:
            self.is_filled.clear()
        else:
            self.is_filled.set()
        if want.stop:
            if not self._processes and not self._primary.workers:
                self._stopped.set()
                self.over.set()
        elif want.workers and self.given_up is None and not self._develops:
            slots = {process.slot for process in self._processes.values()}
            if all(slot not in slots and slot in closed for slot in want.workers):
                self.over.set()

    def _take_over_others(self) -> None:
        """Adds workers that other code forked with this primary, so that a stop ends them too."""
        known = {process.worker for process in self._processes.values()}
        for worker in self._primary.workers.values():
            if worker not in known:
                process = self._add(slot=-1 if worker.name is None else worker.name)
                process.worker, process.is_accepted = worker, True

    # ---- limits

    def _check_health_if_due(self, now: float) -> None:
        limits = self._limits
        interval = min(0.25, (limits.hang_timeout or 1.0) / 4)
        if not limits.are_set:
            self._next_check = math.inf
        elif self._next_check == math.inf:
            self._next_check = now + interval
        elif now >= self._next_check:
            is_late = now - self._next_check > interval
            self._next_check = now + interval
            if not is_late:  # else this loop was blocked, so it has not read the workers' latest reports yet
                self._check_health(limits, now)

    def _check_health(self, limits: Limits, now: float) -> None:
        self._look(now)
        for process in self._processes.values():
            worker = process.worker
            if worker is None or not process.is_accepted or not process.is_up or process.hung_at is not None:
                continue
            if process.chance is None:
                process.chance = self._chance()
            check, sample = HealthCheck(limits, process.chance), _sample(worker._session)
            if check.is_hung(sample):
                logger.error("%s has been blocked for %.1f s: its stacks go to stderr", _who(worker), sample.silence)
                process.hung_at = now
            elif not process.is_due and (why := check.why_due(sample)):
                logger.info("%s is replaced: %s", _who(worker), why)
                process.is_due = True
