"""`Metrics`: collects what workers have counted, and makes one page of it.

::

    scrape ──▶ COUNT to each worker ──▶ its registry, in a thread of its own ──▶ COUNTED
                                                                                   │ kept as bytes, the last of each
    page ◀── a thread: unpacked, merged (`_metrics.merge`), written ◀──────────────┘
                 ▲
                 └── what workers have counted that have ended: their last word, or their last report

A worker that does not answer in time is on the page with its last report, and `aiocluster_report_age_seconds` says how
old that is. Once anybody has wanted a page, workers that have something to do are asked now and then, so that one that
is killed has lost little. What has been on a page is never lost: the report behind it is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._metrics.family import MAX_REPORT
from .._wire import frames
from ..errors import ClusterError, MessageTooLargeError, ProtocolError
from .own_numbers import Counts, own_families, place_of

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from .._metrics.family import Family
    from .._metrics.merge import Conflict, Past
    from .._metrics.page import Body
    from .._primary.primary import Primary
    from .._primary.session import Session
    from ..stats import ClusterStats

logger = logging.getLogger("aiocluster.metrics")

_DEADLINE = 1.0  # seconds that a worker has to answer
_INTERVAL = 5.0  # seconds between two reports of a worker that is not asked for a page
_SILENT = 60.0  # seconds without an answer; then a worker is asked less often: what it is asked waits in memory
_MOST_TOLD = 1000  # complaints that are remembered, so that each is logged once

_Pages = dict[str, "asyncio.Future[tuple[str, bytes, list[Conflict]]]"]
"""What has been made after a look at all workers, by what clients accept."""

running: list[Metrics] = []
"""Those of the clusters that run in this process, for `aiocluster.metrics.render`."""


@dataclass(slots=True)
class _Worker:
    """What is known of a worker's numbers.

    Attributes:
        report: Its last report.
        parts: Those that have come of the next one.
        number: Of which `frames.Count` the last one is the answer.
        at: When it came, on the monotonic clock.
        asked: When it was asked last.
        undelivered: How many of its messages have come back to it.
        rested: Whether it had nothing to do when it was asked last: then it has nothing new to say until it has.
        page: The page that it waits for.
    """

    report: bytes = b""
    parts: bytearray = field(default_factory=bytearray)
    number: int = 0
    at: float = field(default_factory=time.monotonic)
    asked: float = 0.0
    undelivered: int = 0
    rested: bool = False
    page: asyncio.Task[None] | None = None

    def may_be_asked(self, now: float) -> bool:
        """Whether it has answered lately, or it is time to try again."""
        return self.asked < self.at or now - self.at < _SILENT or now - self.asked >= _SILENT


class _Round:
    """One look at all workers.

    Args:
        number: The number that they are asked with.
        missing: Those that have not answered yet.
    """

    def __init__(self, number: int, missing: set[Session]) -> None:
        self.number = number
        self.missing = missing
        self.done: asyncio.Event = asyncio.Event()
        self._look()

    def answered(self, session: Session) -> None:
        """This one has answered, or never will."""
        self.missing.discard(session)
        self._look()

    def _look(self) -> None:
        if not self.missing:
            self.done.set()


class Metrics:
    """The numbers of a cluster, from `begin` to `end`.

    Args:
        primary: The cluster's.
        stats: Returns its current numbers.
    """

    def __init__(self, primary: Primary, stats: Callable[[], ClusterStats]) -> None:
        self._primary = primary
        self._stats = stats
        self._workers: dict[Session, _Worker] = {}
        self._round: _Round | None = None
        self._number = 0
        self._look: asyncio.Task[_Pages] | None = None
        self._next_look: asyncio.Task[_Pages] | None = None
        self._counts = Counts()
        self._past: Past | None = None  # made and used in the thread only
        self._thread: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told: set[Conflict] = set()
        self._is_on = False

    def begin(self) -> None:
        """Begins to collect. The caller must call `end` later."""
        self._is_on = True
        running.append(self)
        shared = self._primary._shared
        shared.numbers = self
        shared.hub.on("undelivered", self._came_back)

    async def end(self) -> None:
        """Collects no more. No worker is left."""
        if not self._is_on:
            return
        self._is_on = False
        running.remove(self)
        self._primary._shared.hub.off("undelivered", self._came_back)
        if self._timer is not None:
            self._timer.cancel()
        pages = [worker.page for worker in self._workers.values()]
        tasks = [task for task in (self._look, self._next_look, *pages) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)  # what it is at takes a few milliseconds

    def want(self) -> None:
        """Somebody wants pages from now on: what costs a little is counted from now on, too."""
        if self._timer is None and self._is_on:
            self._primary._shared.ports.time_waits()
            self._tick()
            self._in_thread().submit(_warm_up)

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """While a reload is under way."""
        began = time.monotonic()
        yield
        self._counts.reload_seconds = time.monotonic() - began

    # ---- the workers

    def counted(self, session: Session, frame: frames.Counted) -> None:
        """A worker has said what it has counted.

        Raises:
            ProtocolError: That can't be.
        """
        if frame.number < 0 or frame.undelivered < 0:
            raise ProtocolError(f"impossible numbers: {frame.number}, {frame.undelivered} undelivered")
        worker = self._of(session)
        worker.parts += frame.part
        if len(worker.parts) > MAX_REPORT:
            raise ProtocolError("its report is too long")
        if not frame.is_last:
            return
        worker.report, worker.number, worker.at = bytes(worker.parts), frame.number, time.monotonic()
        worker.parts.clear()
        worker.undelivered = frame.undelivered
        if self._round is not None and frame.number >= self._round.number:
            self._round.answered(session)

    def gone(self, session: Session) -> None:
        """A worker has ended, and all it said has been heard."""
        worker = self._workers.pop(session, None) or _Worker()
        if worker.page is not None:
            worker.page.cancel()
        if self._round is not None:
            self._round.answered(session)
        self._counts.ended(session.stats(), session.exit.result().reason, worker.undelivered)
        if worker.report:
            self._in_thread().submit(self._keep, place_of(session.stats()), session.identity.id, worker.report)

    def counted_before_forks(self, report: bytes) -> None:
        """A fork server has said what it has counted itself."""
        self._in_thread().submit(self._keep, "the fork server", 0, report)

    def _of(self, session: Session) -> _Worker:
        return self._workers.setdefault(session, _Worker())

    def _came_back(self, event: object) -> None:
        self._counts.undelivered += 1

    # ---- looks

    def _ask(self, *, all_of_them: bool) -> _Round:
        """Asks the workers that can answer, or of these only those that may have something new to say."""
        self._number += 1
        frame = frames.Count(self._number).encode()
        asked: set[Session] = set()
        now = time.monotonic()
        for session in self._primary._all_sessions():
            life, worker = session.life, self._of(session)
            has_news, worker.rested = not (worker.rested and session.rests), session.rests
            can_answer = life.channel == "open" and life.loop == "running" and worker.may_be_asked(now)
            if can_answer and (has_news or all_of_them):
                worker.asked = now
                session.channel.send(frame)
                asked.add(session)
        return _Round(self._number, asked)

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._tick)
        self._ask(all_of_them=False)

    async def _wait_for_all(self) -> None:
        """Asks all workers, and waits until they have answered, or for as long as they may take."""
        self._round = self._ask(all_of_them=True)
        try:
            async with asyncio.timeout(_DEADLINE):
                await self._round.done.wait()
        except TimeoutError:
            pass
        finally:
            self._round = None

    async def _see(self, before: asyncio.Task[_Pages] | None) -> _Pages:
        """Looks at all workers, after the look before. Whoever waits for it finds the pages of the others there."""
        if before is not None:
            await asyncio.wait([before])
        self._look, self._next_look = self._next_look, None
        try:
            await self._wait_for_all()
            return {}
        finally:
            self._look = None

    def _begin_page(self, accept: str) -> asyncio.Future[tuple[str, bytes, list[Conflict]]]:
        """Has the thread make a page of what there is now: a worker that ends later is added to its past later."""
        now = time.monotonic()
        from .._metrics.merge import Conflict
        from .._metrics.page import Body

        bodies: list[Body] = []
        missing: list[Conflict] = []
        ages: dict[str, float] = {}
        undelivered = 0
        for session in self._primary._all_sessions():
            worker = self._of(session)
            place = session.identity.name or str(session.identity.slot)
            undelivered += worker.undelivered
            if worker.number:
                bodies.append(Body(place, session.identity.id, worker.report))
                ages[place] = min(ages.get(place, now), now - worker.at)  # of two, the newer one's counts
            elif session.age > _DEADLINE:
                missing.append(Conflict(place, "this worker has not answered yet"))
        waits = self._primary._shared.ports.time_waits()
        own = own_families(self._stats(), self._counts, waits, undelivered, ages)
        page = asyncio.wrap_future(self._in_thread().submit(self._make, bodies, own, missing, accept))
        page.add_done_callback(self._made)
        return page

    # ---- pages

    async def page(self, accept: str) -> tuple[str, bytes]:
        """Returns the content type and the bytes of a page with the numbers of all workers.

        All who ask while a look at the workers is under way share the next one, and the page that is made of it: what
        was counted before they asked is on it.

        Args:
            accept: What the client accepts: the value of the header ``Accept``.

        Raises:
            ClusterError: prometheus-client is missing, or the cluster has ended.
        """
        self.want()
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().create_task(self._see(self._look))
        look = self._next_look
        try:
            pages = await asyncio.shield(look)
            if (page := pages.get(accept)) is None:
                page = pages[accept] = self._begin_page(accept)
            content_type, body, _ = await asyncio.shield(page)
        except ImportError as error:
            raise ClusterError(
                f"there is no page without prometheus-client: pip install aiocluster[metrics] ({error})"
            ) from None
        except asyncio.CancelledError:
            if self._is_on:
                raise
            raise ClusterError("there is no page of metrics to be had: the cluster has ended") from None
        return content_type, body

    def _made(self, page: asyncio.Future[tuple[str, bytes, list[Conflict]]]) -> None:
        """Says what a page lacks; and its error counts as seen, if nobody waits for it any more."""
        if page.cancelled() or page.exception() is not None:
            return
        for lack in page.result()[2]:
            if lack not in self._told and len(self._told) < _MOST_TOLD:
                self._told.add(lack)
                logger.warning("the page of metrics lacks something: %s%s", lack.place and f"{lack.place}: ", lack.text)

    def ask_page(self, session: Session, frame: frames.AskPage) -> None:
        """A worker asks for the page.

        Raises:
            ProtocolError: It waits for one already.
        """
        worker = self._of(session)
        if worker.page is not None and not worker.page.done():
            raise ProtocolError("it asks for a page while it waits for one")
        worker.page = asyncio.get_running_loop().create_task(self._give_page(session, frame))

    async def _give_page(self, session: Session, frame: frames.AskPage) -> None:
        try:
            content_type, body = await self.page(frame.accept)
            answer = frames.Page(content_type, body).encode()
        except (ClusterError, MessageTooLargeError) as error:
            answer = frames.NoPage(str(error)).encode()
        except Exception as error:  # else the worker would wait for ever
            logger.exception("the page of metrics could not be made")
            answer = frames.NoPage(f"{type(error).__name__}: {error}").encode()
        if not session.channel.is_closed:
            session.channel.send(answer)

    # ---- in the thread

    def _in_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor  # many clusters need none

            self._thread = ThreadPoolExecutor(1, "aiocluster-metrics", _hear_no_signals)
        return self._thread

    def _make(
        self, bodies: Sequence[Body], own: Sequence[Family], missing: Sequence[Conflict], accept: str
    ) -> tuple[str, bytes, list[Conflict]]:
        from .._metrics.merge import Past
        from .._metrics.page import make_page

        self._past = self._past or Past()
        return make_page(self._past, bodies, own, missing, accept)

    def _keep(self, place: str, id: int, report: bytes) -> None:
        from .._metrics.merge import Past
        from .._metrics.page import Body, keep

        self._past = self._past or Past()
        try:
            keep(self._past, Body(place, id, report))
        except Exception:  # nobody awaits it
            logger.exception("what the last worker in slot %s has counted is lost", place)


def _warm_up() -> None:
    with contextlib.suppress(ImportError):  # the page says it
        from .._metrics.page import warm_up

        warm_up()


def _hear_no_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the main thread has the handlers
