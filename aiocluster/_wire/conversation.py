"""Messages, handles and requests between this process and one other, in both directions, over one channel.

A worker has one conversation for each peer, the primary one for each worker. A `Mailbox` passes messages and requests
to their handlers. A worker has one mailbox, the primary one for each worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from types import TracebackType
from typing import Any

from .._interruption import ends_task, pass_on_interruption
from ..errors import ChannelClosedError, HandleError, ProtocolError, RemoteError
from . import frames as kinds
from . import handles as sockets
from .codec import MAX_MESSAGE, pack, unpack, unpack_batch
from .frame import TakeDescriptors
from .mailbox import Mailbox
from .windows import REQUESTS, Ancillary, Outlet, ReceiveWindow, SendWindow

_LONGEST_TEXT = 100_000  # characters of an exception's text or traceback that a requester gets
_WHY_LOST = "a process had no room for them, or too many were in flight (RLIMIT_NOFILE)"
_TASK = 2048  # bytes that a request costs besides its own while it is being served
_MOST_SERVED = 4 * MAX_MESSAGE  # bytes: a bound for a peer that asks without end
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})  # results that nobody awaits

_Receiver = Callable[[int, bytes, TakeDescriptors], None]


class Conversation:
    """Sends to one other process and handles what it sends.

    Args:
        channel: Carries the frames.
        peer: The pid in its frames: in a worker the other process's, in the primary the primary's own.
        pid: What users call the other process: its pid, or ``"host/pid"`` in another cluster.
        label: What error texts call the other process.
        mailbox: Receives messages and requests.
    """

    def __init__(self, channel: Outlet, peer: int, pid: int | str, label: str, mailbox: Mailbox) -> None:
        self.pid = pid
        self._channel = channel
        self.send_window: SendWindow = SendWindow(channel, peer, label)
        self._receive_window = ReceiveWindow(channel, peer)
        self._asking = SendWindow(channel, peer, label, REQUESTS)
        self._asked = ReceiveWindow(channel, peer, REQUESTS)
        self._label = label
        self._mailbox = mailbox
        self._last_number = 0
        self._requests: dict[int, asyncio.Future[Any]] = {}
        self._served: dict[int, asyncio.Task[None]] = {}
        self._cost_of_served = 0  # bytes
        self._unwanted: set[int] = set()  # those of `_served` whose requester no longer waits
        messages, requests = self._receive_window, self._asked
        self._flows: dict[int, tuple[ReceiveWindow, _Receiver]] = {
            kinds.MESSAGES: (messages, self._on_messages),
            kinds.HANDLES: (messages, self._on_handles),
            kinds.FRAGMENT: (messages, _nothing),
            kinds.DISCARD: (messages, _nothing),
            kinds.REQUEST: (requests, self._on_request),
            kinds.CALL: (requests, self._on_call),
            kinds.REPLY: (requests, self._on_reply),
            kinds.FAILURE: (requests, self._on_failure),
            kinds.REQUEST_FRAGMENT: (requests, _nothing),
            kinds.REQUEST_DISCARD: (requests, _nothing),
        }
        self._controls: dict[int, Callable[[int], None]] = {
            kinds.ACK: self.send_window.acked,
            kinds.REQUEST_ACK: self._asking.acked,
            kinds.CANCEL: self._on_cancel,
            kinds.LOST: self._on_lost,
        }

    # ---- out

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        """Sends a message; see `Worker.send_to`."""
        body = pack(message)
        if not handles:
            await self.send_window.send(body)
            return
        socks = sockets.sockets_of(handles)
        fds = sockets.duplicate(socks)
        count = len(fds)
        ancillary = Ancillary(tuple(fds), sockets.closer(fds), lambda: self._on_lost(count))
        await self.send_window.send_frame(kinds.HANDLES, count, body, ancillary)
        for sock in socks:
            if not keep_open and sockets.is_connection(sock):
                sock.close()

    def request(self, message: Any, timeout: float | None, kind: int = kinds.REQUEST) -> Coroutine[Any, Any, Any]:
        """Sends a request, or another frame that has a reply, and returns the reply; see `Worker.request_to`.

        It sends when the returned coroutine is awaited.
        """
        return self._request(kind, message) if timeout is None else self._request_within(timeout, kind, message)

    async def _request_within(self, timeout: float, kind: int, message: Any) -> Any:
        try:
            async with asyncio.timeout(timeout):
                return await self._request(kind, message)
        except TimeoutError:
            raise TimeoutError(f"{self._label} did not reply within {timeout} seconds") from None

    async def _request(self, kind: int, message: Any) -> Any:
        body = pack(message)
        self._last_number = number = self._last_number + 1
        requests = self._requests
        is_alone = not requests
        loop = self._channel.loop or asyncio.get_running_loop()
        reply = requests[number] = loop.create_future()
        is_sent = False
        try:
            if not self._put(kind, number, body, is_alone):
                await self._asking.send_frame(kind, number, body)
            is_sent = True
            return await reply
        except BaseException as error:
            if is_sent and isinstance(error, asyncio.CancelledError):
                self._asking.put_control(kinds.CANCEL, number)
            if reply.done() and not reply.cancelled():
                reply.exception()  # retrieved: a failure may arrive while we are being cancelled
            raise
        finally:
            del requests[number]  # not before: it is in flight until whoever asked has the reply

    def _put(self, kind: int, number: int, body: bytes, is_alone: bool) -> bool:
        """Queues a request or a reply; at once if no others are likely to follow. False if it has to wait for room."""
        if self.send_window.batch is not None:
            self.send_window.end_batch()  # later messages must not arrive before this frame
        return self._asking.put_alone(kind, number, body) if is_alone else self._asking.put_frame(kind, number, body)

    # ---- in

    def receive(self, kind: int, number: int, body: bytes, take: TakeDescriptors) -> None:
        """A frame of this conversation has arrived.

        Raises:
            ProtocolError: The frame is invalid.
        """
        flow = self._flows.get(kind)
        if flow is None:
            control = self._controls.get(kind)
            if control is None:
                raise ProtocolError(f"a frame of kind {kind}, which no conversation has")
            control(number)
            return
        window, handle = flow
        whole = window.accept(kind, body, abs(number) if kind == kinds.HANDLES else 0)
        if whole is not None:
            handle(number, whole, take)

    def _on_cancel(self, number: int) -> None:
        if task := self._served.get(number):
            self._unwanted.add(number)
            task.cancel()

    def _on_lost(self, count: int) -> None:
        self._mailbox.complain(HandleError(f"{count} descriptors did not reach {self._label}: {_WHY_LOST}"))

    def _on_messages(self, count: int, body: bytes, take: TakeDescriptors) -> None:
        messages = (unpack(body),) if count == 1 else unpack_batch(body, count)
        self._mailbox.deliver(self.pid, messages, (), self._receive_window)

    def _on_handles(self, count: int, body: bytes, take: TakeDescriptors) -> None:
        descriptors = take() if count > 0 else None
        fds = descriptors.take() if descriptors is not None else []
        try:
            message = unpack(body)
        except ProtocolError:
            sockets.close(fds)
            raise
        if len(fds) != count:
            sockets.close(fds)
            if count > 0:  # else the process that forwarded it has told the sender
                self.send_window.put_control(kinds.LOST, count)
            self._mailbox.complain(HandleError(f"{abs(count)} descriptors from {self._label} were lost: {_WHY_LOST}"))
        self._mailbox.deliver(self.pid, (message,), _received(fds), self._receive_window)

    def _on_request(self, number: int, body: bytes, take: TakeDescriptors) -> None:
        if self._cost_of_served > _MOST_SERVED:
            raise ProtocolError(f"it has {len(self._served)} requests in flight: more can't be served")
        message = unpack(body)
        try:
            handler = self._mailbox.requests.handler
            if handler is None:
                raise LookupError("no handler: this process has not called handle_requests()")
            result = handler(message, self.pid)
            if type(result) not in _PLAIN and inspect.isawaitable(result):
                self._serve_awaitable(number, result, len(body))
                return
            kind, reply = kinds.REPLY, pack(result)
        except BaseException as error:
            pass_on_interruption(error)
            kind, reply = kinds.FAILURE, pack(described(error))
        if not self._put(kind, number, reply, self._channel.hears_one):
            self._serve(number, self._reply(kind, number, reply), len(reply))

    def _on_call(self, number: int, body: bytes, take: TakeDescriptors) -> None:
        call = unpack(body)
        if type(call) is not list or len(call) != 2 or type(call[1]) is not list:
            raise ProtocolError("a call is a function and a list of arguments")
        self._serve_awaitable(number, self._mailbox.call(*call), len(body))

    def _serve(self, number: int, work: Coroutine[Any, Any, None], size: int) -> None:
        task = self._served[number] = asyncio.get_running_loop().create_task(work)
        cost = size + _TASK
        self._cost_of_served += cost
        task.add_done_callback(partial(self._on_served, number, cost))

    def _on_served(self, number: int, cost: int, task: asyncio.Task[None]) -> None:
        self._cost_of_served -= cost
        self._served.pop(number, None)
        self._unwanted.discard(number)

    def _serve_awaitable(self, number: int, result: Awaitable[Any], size: int) -> None:
        self._serve(number, self._answer(number, result), size)
        if inspect.iscoroutine(result):
            # If the task is cancelled before its first step, the coroutine would never be awaited.
            self._served[number].add_done_callback(lambda task: result.close())

    async def _answer(self, number: int, result: Awaitable[Any]) -> None:
        task = asyncio.current_task()
        try:
            kind, reply = kinds.REPLY, pack(await result)
        except BaseException as error:
            if isinstance(error, GeneratorExit) and ends_task(error, task):
                raise  # the loop is closed
            kind, reply = kinds.FAILURE, pack(described(error))
            if ends_task(error, task):
                if number not in self._unwanted:
                    self._put(kind, number, reply, is_alone=False)
                raise
        await self._reply(kind, number, reply)

    async def _reply(self, kind: int, number: int, reply: bytes) -> None:
        if self._put(kind, number, reply, len(self._served) == 1):
            return
        with contextlib.suppress(ChannelClosedError):  # the requester is gone
            await self._asking.send_frame(kind, number, reply)

    def _on_reply(self, number: int, body: bytes, take: TakeDescriptors) -> None:
        message = unpack(body)
        reply = self._requests.get(number)
        if reply is not None and not reply.done():  # else the requester no longer waits
            reply.set_result(message)

    def _on_failure(self, number: int, body: bytes, take: TakeDescriptors) -> None:
        failure = unpack(body)
        if type(failure) is not list or list(map(type, failure)) != [str, str, str]:
            raise ProtocolError("a failure is a type, a text and a traceback")
        reply = self._requests.get(number)
        if reply is not None and not reply.done():
            reply.set_exception(RemoteError(*failure))

    # ---- the end

    def in_flight(self) -> list[asyncio.Future[Any]]:
        """Returns what has been asked and not been answered yet, by either side."""
        return [*self._requests.values(), *self._served.values()]

    def confirm_messages(self) -> None:
        """Acknowledges all messages, although handlers may still run: the channel is to be closed in good order."""
        self._receive_window.confirm()

    async def end(self) -> None:
        """The other process is gone: returns the messages it did not acknowledge, and fails the requests to it."""
        self._asking.close()
        for body in self.send_window.close():
            self._mailbox.give_back(self.pid, unpack(body))
        for reply in self._requests.values():
            if not reply.done():
                reply.set_exception(ChannelClosedError(f"{self._label} disconnected before it replied"))
        self._unwanted.update(self._served)
        served = list(self._served.values())
        for task in served:
            task.cancel()
        if served:
            await asyncio.wait(served)


def _nothing(number: int, body: bytes, take: TakeDescriptors) -> None:
    """There is no fragment without a frame that ends it."""


def described(error: BaseException) -> tuple[str, str, str]:
    """The arguments of a `RemoteError` for this exception: type, text, traceback."""
    return described_from(error, error.__traceback__)


def described_from(error: BaseException, frames: TracebackType | None) -> tuple[str, str, str]:
    """Like `described`, with these frames in place of all that the exception has."""
    cls = type(error)
    try:
        text = str(error)
    except BaseException:
        text = f"<unprintable {cls.__name__}>"
    try:
        trace = "".join(traceback.format_exception(cls, error, frames))
    except BaseException:
        trace = f"<unprintable traceback of {cls.__name__}>"
    return _sendable(f"{cls.__module__}.{cls.__qualname__}"), _sendable(text), _sendable(trace)


def _sendable(text: str) -> str:
    """This text, cut if it is very long, without the surrogates that UTF-8 can't encode."""
    if (left_out := len(text) - _LONGEST_TEXT) > 0:
        half = _LONGEST_TEXT // 2
        text = f"{text[:half]}\n… {left_out} characters …\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _received(fds: list[int]) -> tuple[socket.socket, ...]:
    try:
        return sockets.from_descriptors(fds)
    except OSError as error:
        raise ProtocolError(f"a received handle is not a socket: {error}") from None
