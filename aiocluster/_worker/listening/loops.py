"""Hooks every event loop of this process, whatever its class and whoever makes it.

A class is hooked where it is made: as a subclass of `asyncio.AbstractEventLoop`. A loop is noticed where it becomes the
running one of its thread, which each loop tells asyncio. So there is no list of loops here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from asyncio import events
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from ..current import connected_session

logger = logging.getLogger("aiocluster.worker")

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def install(wrappers: Mapping[str, Wrap]) -> None:
    """Replaces these methods in all classes of loops, also in later ones, and has sessions hear of running loops.

    Idempotent. A loop's package must be imported afterwards, or look `_set_running_loop` up when it calls it.
    """
    original = events._set_running_loop
    if hasattr(original, "__wrapped__"):
        return
    classes = _Classes(wrappers)

    @wraps(original)
    def set_running_loop(loop: asyncio.AbstractEventLoop | None) -> None:
        session = connected_session()
        if session is not None and session.pid != os.getpid():
            session = None  # asyncio's hook resets the loop of a forked child, before ours has closed its channel
        before = events._get_running_loop()
        if session is not None and before is not None and before is not loop and session.is_attached(before):
            session.detach()
        if loop is not None:
            classes.hook(type(loop))
        original(loop)
        if session is None or loop is None or session.is_attached(loop):
            return
        if is_main_thread():
            if not session.attach(loop):
                logger.warning("the main thread's event loop does not hear the primary: one in another thread does")
        elif session.has_heard(loop) and not session.attach(loop):  # run again, with its servers
            logger.warning("the event loop of a server in another thread no longer hears the primary")

    events._set_running_loop = set_running_loop
    asyncio._set_running_loop = set_running_loop
    classes.hook_all()


def is_main_thread() -> bool:
    """Whether this is the main thread, whose loop hears the primary."""
    return threading.get_ident() == threading.main_thread().ident


class _Classes:
    """The classes of loops whose methods have been replaced."""

    def __init__(self, wrappers: Mapping[str, Wrap]) -> None:
        self._wrappers = wrappers
        self._hooked: set[type] = set()

    def hook_all(self) -> None:
        """Hooks all subclasses of `asyncio.AbstractEventLoop`, those that are defined later included."""
        base: Any = events.AbstractEventLoop

        def init_subclass(cls: Any, /, **options: Any) -> None:
            super(base, cls).__init_subclass__(**options)
            self.hook(cls)

        base.__init_subclass__ = classmethod(init_subclass)
        self._hook_subclasses(base)

    def _hook_subclasses(self, base: Any) -> None:
        for cls in base.__subclasses__():
            self.hook(cls)
            self._hook_subclasses(cls)

    def hook(self, cls: type) -> None:
        """Replaces the methods of this class, but not those that override replaced ones: they call these.

        Raises:
            RuntimeError: Its methods can't be replaced.
        """
        if cls in self._hooked:
            return
        for name, wrap in self._wrappers.items():
            owners = [one for one in cls.__mro__ if name in vars(one)]
            if owners and owners[0] is not events.AbstractEventLoop and self._hooked.isdisjoint(owners):
                try:
                    setattr(cls, name, wrap(vars(owners[0])[name]))
                except TypeError:
                    raise RuntimeError(
                        f"aiocluster: the event loop {cls.__module__}.{cls.__qualname__} can't share ports: "
                        "its methods can't be replaced; use asyncio's or uvloop's"
                    ) from None
        self._hooked.add(cls)
