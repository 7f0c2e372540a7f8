"""The child's side: `parent` returns the process at the other end of the channel."""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import stat
from collections.abc import Callable, Iterable
from typing import Any

from .._events.emitter import Handler, ParentEvent
from .._no_constructor import NoConstructor
from .._processes.environment import PARENT_FD
from .._wire.flusher import flush_at_os_exit
from .._wire.inbox import Inbox, MessageQueue
from .._wire.mailbox import RequestHandler
from ._link import Link


class Parent(Link[ParentEvent], metaclass=NoConstructor, made_by="parent()"):
    """The process that started this one with a channel; see `parent`.

    Its events are ``message``, ``disconnect`` (it has ended, or has closed the channel), ``error`` and ``undelivered``.
    They arrive on the event loop on which it is first used; once that loop is closed, on the next loop that uses it. If
    it is used outside a running loop only, for example before `asyncio.run`, no events arrive.

    Attributes:
        pid: The parent's process id.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(sock, os.getppid(), "the parent", _ParentInbox(self._attach_to_running_loop))
        assert self._channel is not None
        flush_at_os_exit(self._channel)

    def __repr__(self) -> str:
        return f"<Parent {self.pid}, {'connected' if self.connected else 'disconnected'}>"

    def _attach_to_running_loop(self) -> None:
        """Reads the channel on the running loop, if there is one, unless another open loop already does."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._loop is not None and not self._loop.is_closed():
            return
        assert self._channel is not None
        self._channel.detach()
        self._loop = loop
        self._attach(loop)

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        """Sends the parent a message; see `ChildProcess.send`."""
        self._attach_to_running_loop()
        await super().send(message, handles, keep_open=keep_open)

    async def request(self, message: Any, *, timeout: float | None = None) -> Any:
        """Sends the parent a request and returns the reply; see `ChildProcess.request`."""
        self._attach_to_running_loop()
        return await super().request(message, timeout=timeout)

    def handle_requests(self, handler: RequestHandler | None) -> None:
        """Answers the parent's requests from now on; see `ChildProcess.handle_requests`."""
        self._attach_to_running_loop()
        super().handle_requests(handler)

    def _finish(self) -> None:
        """Sends what is still buffered, because the interpreter is ending."""
        assert self._channel is not None
        self._channel.detach()
        self._channel.flush_blocking()
        self._channel.close()

    def _forget(self) -> None:
        """Drops the channel in a forked process: it belongs to the process that forked it."""
        assert self._channel is not None
        self._channel.abandon()


class _ParentInbox(Inbox):
    """An inbox that calls ``asked`` when a handler or a queue is requested."""

    def __init__(self, asked: Callable[[], None]) -> None:
        super().__init__()
        self._asked = asked

    def on(self, name: str, handler: Handler) -> None:
        self._asked()
        super().on(name, handler)

    def messages(self) -> MessageQueue:
        self._asked()
        return super().messages()


_parent: Parent | None = None  # one per process, like its standard streams


def parent() -> Parent | None:
    """Returns the parent if this process was started with a channel, by `fork` or by `spawn` with ``"ipc"``; else None.

    It returns the same object each time. Children of this process don't inherit it, whether spawned or made by
    `os.fork`.

    When the parent ends, this process gets the event ``disconnect`` and keeps running, as in Node.
    """
    global _parent
    if _parent is None and (sock := _inherited(os.environ.pop(PARENT_FD, ""))) is not None:
        _parent = Parent._create(sock)
        os.register_at_fork(after_in_child=_forget)
        atexit.register(_finish)
    if _parent is not None:
        _parent._attach_to_running_loop()
    return _parent


def _inherited(named: str) -> socket.socket | None:
    """Returns the socket that the environment names; None if that descriptor is not open or is another file."""
    number, _, inode = named.partition(":")
    if not (number.isdecimal() and inode.isdecimal()):
        return None
    fd = int(number)
    try:
        status = os.fstat(fd)
    except (OSError, OverflowError):
        return None
    if status.st_ino != int(inode) or not stat.S_ISSOCK(status.st_mode):
        return None
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    return sock


def _forget() -> None:
    global _parent
    forgotten, _parent = _parent, None
    if forgotten is not None:
        forgotten._forget()


def _finish() -> None:
    if _parent is not None:
        _parent._finish()
