"""A worker's end of the cluster's page of numbers: it says what it has counted, and asks for the page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue

from .._metrics.family import MAX_REPORT, pack_report
from .._metrics.registry import Inherited, Recorder, counts
from .._wire import frames
from .._wire.frame import Frame, Route, on
from ..errors import ChannelClosedError, ClusterError
from .thread import start_thread

logger = logging.getLogger("aiocluster.metrics")

_LAST_WORD = 1.0  # seconds that the end of the process may wait for the application's own collectors
_PART = 64 * 1024  # bytes of a report that one frame carries
_LONGEST_ACCEPT = 8192  # characters


class Metrics:
    """Says what this process has counted, and asks for the page with the numbers of all.

    Args:
        tell: Sends the primary a frame. It is called in the loop's thread, or when no loop runs.
        loop: Returns the loop that hears the primary; None if none does.
        undelivered: Returns how many messages have come back to this process.
        inherited: What had been counted when this process was forked.

    Attributes:
        routes: The frames that it hears.
    """

    def __init__(
        self,
        tell: Callable[[Frame], None],
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        undelivered: Callable[[], int],
        inherited: Inherited | None,
    ) -> None:
        self._tell = tell
        self._loop = loop
        self._undelivered = undelivered
        self._recorder = Recorder(inherited)
        self._wanted = 0  # the number of the last `Count`
        self._counting: asyncio.AbstractEventLoop | None = None  # the loop for which a thread makes a report
        self._is_too_long = False  # the last report
        self._work: SimpleQueue[Callable[[], None]] | None = None  # of the thread; None: there is none yet
        self._asked: list[asyncio.Future[tuple[str, bytes]]] | None = None  # they get the page that has been asked for
        self._waiting: dict[str, list[asyncio.Future[tuple[str, bytes]]]] = {}  # by what they accept
        self._is_closed = False
        self.routes: list[Route] = [on(frames.Page, self._on_page), on(frames.NoPage, self._on_no_page)]

    # ---- what this process has counted

    def count(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        """Answers the `Count` of that number. The collectors are asked in a thread, as prometheus-client does it.

        Of those that come meanwhile, only the last is answered: after a time in which the loop was blocked, there may
        be many.
        """
        if not counts():
            self._tell_counted(number, b"")
            return
        self._wanted = number
        if self._counting is loop:
            return

        def answer() -> None:
            report = self._packed()
            try:
                loop.call_soon_threadsafe(self._answer, number, report, loop)
            except RuntimeError:  # the loop has ended; the last word comes later
                pass

        if self._do_in_thread(answer):
            self._counting = loop

    def _answer(self, number: int, report: bytes | None, loop: asyncio.AbstractEventLoop) -> None:
        self._counting = None
        if report is not None:
            self._tell_counted(number, report)
        if self._wanted > number:
            self.count(self._wanted, loop)

    def say_last_word(self) -> None:
        """Tells what this process has counted, at its end. No loop runs any more."""
        report = b""
        if counts():
            found: SimpleQueue[bytes | None] = SimpleQueue()
            if not self._do_in_thread(lambda: found.put(self._packed())):
                return
            try:
                packed = found.get(timeout=_LAST_WORD)
            except Empty:  # an own collector hangs
                packed = None
            if packed is None:
                return  # what was reported last counts
            report = packed
        if report or self._undelivered():
            self._tell_counted(frames.LAST_WORD, report)

    def _do_in_thread(self, work: Callable[[], None]) -> bool:
        """Has this done in a thread. It is the same one for all reports: to start one takes longer than a report.

        Returns:
            Whether it will be. False if the process may have no more threads just now.
        """
        if self._work is None:
            work_of_thread: SimpleQueue[Callable[[], None]] = SimpleQueue()

            def run() -> None:
                while True:
                    work_of_thread.get()()

            try:
                start_thread("aiocluster-metrics", run)
            except RuntimeError as error:
                logger.error("what this worker has counted can't be told just now: %s", error)
                return False
            self._work = work_of_thread
        self._work.put(work)
        return True

    def _packed(self) -> bytes | None:
        """Returns a packed report; None if none can be made just now, which is logged."""
        try:
            report = self._recorder.report()
            return pack_report(report) if report.families or report.errors else b""
        except Exception:  # the next one may succeed
            logger.exception("what this worker has counted can't be told just now")
            return None

    def _tell_counted(self, number: int, report: bytes) -> None:
        was_too_long, self._is_too_long = self._is_too_long, len(report) > MAX_REPORT
        if self._is_too_long:  # the last one that was told counts on, and gets older
            if not was_too_long:
                logger.error("this worker's metrics take %d bytes; the limit is %d", len(report), MAX_REPORT)
            return
        for begin in range(0, len(report) or 1, _PART):
            is_last = begin + _PART >= len(report)
            self._tell(frames.Counted(number, self._undelivered(), report[begin : begin + _PART], is_last))

    # ---- the page

    async def page(self, accept: str) -> tuple[str, bytes]:
        """Asks for the page. Any loop of this process may ask, while another one hears the primary.

        Returns:
            Its content type and its bytes.

        Raises:
            ClusterError: There is none to be had.
            ChannelClosedError: The primary is gone.
        """
        loop = self._loop()
        if loop is None:
            raise ClusterError(
                "there is no page to be had: no event loop of this worker's main thread hears the primary just now"
            )
        if loop is asyncio.get_running_loop():
            return await self._ask(accept)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._ask(accept), loop))

    async def _ask(self, accept: str) -> tuple[str, bytes]:
        if self._is_closed:
            raise _gone()
        page: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(accept if len(accept) <= _LONGEST_ACCEPT else "", []).append(page)
        self._ask_next()
        return await page

    def _ask_next(self) -> None:
        """Asks for one page at a time. All who wait for the same one share it."""
        if self._asked is None and self._waiting:
            accept = next(iter(self._waiting))
            self._asked = self._waiting.pop(accept)
            self._tell(frames.AskPage(accept))

    def _on_page(self, frame: frames.Page) -> None:
        self._answered(lambda page: page.set_result((frame.content_type, frame.body)))

    def _on_no_page(self, frame: frames.NoPage) -> None:
        self._answered(lambda page: page.set_exception(ClusterError(frame.text)))

    def _answered(self, give: Callable[[asyncio.Future[tuple[str, bytes]]], None]) -> None:
        asked, self._asked = self._asked, None
        for page in asked or ():
            if not page.done():
                give(page)
        self._ask_next()

    def close(self) -> None:
        """The primary is gone."""
        self._is_closed = True
        while self._asked is not None or self._waiting:
            self._answered(lambda page: page.set_exception(_gone()))


def _gone() -> ChannelClosedError:
    return ChannelClosedError("the primary is gone, and the numbers of the other workers with it")
