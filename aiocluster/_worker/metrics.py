"""A worker's end of the cluster's page of numbers: it says what it has counted, and asks for the page."""

from __future__ import annotations

import asyncio
import itertools
import signal
import threading
from collections.abc import Callable

from .._metrics.family import Report, pack_report
from .._metrics.registry import Recorder, counts
from .._wire import frames
from .._wire.frame import Frame, Route, on
from ..errors import ChannelClosedError, ClusterError, MessageTooLargeError

_LAST_WORD = 1.0  # seconds that the end of the process may wait for the application's own collectors


class Metrics:
    """Says what this process has counted, and asks for the page with the numbers of all.

    Args:
        tell: Sends the primary a frame. It is called in the loop's thread, or when no loop runs.
        loop: Returns the loop that hears the primary; None if none does.
        undelivered: Returns how many messages have come back to this process.

    Attributes:
        routes: The frames that it hears.
    """

    def __init__(
        self,
        tell: Callable[[Frame], None],
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        undelivered: Callable[[], int],
    ) -> None:
        self._tell = tell
        self._loop = loop
        self._undelivered = undelivered
        self._recorder = Recorder()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[tuple[str, bytes]]] = {}
        self._is_closed = False
        self.routes: list[Route] = [on(frames.Page, self._on_page), on(frames.NoPage, self._on_no_page)]

    # ---- what this process has counted

    def count(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        """Answers the `Count` of that number. The collectors are asked in a thread, as prometheus-client does it."""
        if not counts():
            self._tell(frames.Counted(number, self._undelivered(), b""))
            return

        def answer() -> None:
            report = self._packed()
            try:
                loop.call_soon_threadsafe(self._tell_counted, number, report)
            except RuntimeError:  # the loop has ended; the last word comes later
                pass

        _start(answer)

    def say_last_word(self) -> None:
        """Tells what this process has counted, at its end. No loop runs any more."""
        report = b""
        if counts():
            found: list[bytes] = []
            thread = _start(lambda: found.append(self._packed()))
            thread.join(_LAST_WORD)
            if not found:
                return  # an own collector hangs: what was reported last counts
            report = found[0]
        if report or self._undelivered():
            self._tell_counted(frames.LAST_WORD, report)

    def _packed(self) -> bytes:
        report = self._recorder.report()
        return pack_report(report) if report.families or report.errors else b""

    def _tell_counted(self, number: int, report: bytes) -> None:
        try:
            self._tell(frames.Counted(number, self._undelivered(), report))
        except MessageTooLargeError as error:
            self._tell(
                frames.Counted(number, self._undelivered(), pack_report(Report([], {"this worker": str(error)})))
            )

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
            raise ChannelClosedError("the primary is gone, and the numbers of the other workers with it")
        number = next(self._numbers)
        asked: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        try:
            self._tell(frames.AskPage(number, accept))
            return await asked
        finally:
            del self._asked[number]

    def _on_page(self, frame: frames.Page) -> None:
        asked = self._asked.get(frame.number)
        if asked is not None and not asked.done():
            asked.set_result((frame.content_type, frame.body))

    def _on_no_page(self, frame: frames.NoPage) -> None:
        asked = self._asked.get(frame.number)
        if asked is not None and not asked.done():
            asked.set_exception(ClusterError(frame.text))

    def close(self) -> None:
        """The primary is gone."""
        self._is_closed = True
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(ChannelClosedError("the primary is gone, and the other workers' numbers with it"))


def _start(function: Callable[[], None]) -> threading.Thread:
    """Runs this in a thread to which the kernel gives no signals: the main thread has the handlers."""
    thread = threading.Thread(target=function, name="aiocluster-metrics", daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread
