"""The tasks of the event loop: what each waits for, and which task waits for which."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from ..places import whole
from .stacks import line

_MOST = 5000  # tasks that are shown
_DEEPEST = 50  # frames of a task: coroutines that wait for one another
_FURTHEST = 20  # futures between a task and one that waits for it


def tasks(loop: asyncio.AbstractEventLoop | None) -> dict[str, Any]:
    """Returns the tasks of this loop.

    Each has a ``name``, its ``coroutine``, its ``stack`` (innermost first), whether it ``runs`` just now, what it
    ``awaits`` if that is no task, and ``awaited_by``, the numbers of the tasks that wait for it. A task's number is its
    place in the list.

    The loop goes on meanwhile, unless it is blocked: each task is as it was when it was looked at.
    """
    if loop is None:
        return {"tasks": [], "more": 0, "loop": None}
    every = sorted(asyncio.all_tasks(loop), key=_age)
    shown = every[:_MOST]
    numbers = {task: number for number, task in enumerate(shown)}
    current = asyncio.current_task(loop)
    running = _running_frames(loop) if current is not None else []
    return {
        "tasks": [_described(task, numbers, running if task is current else None) for task in shown],
        "more": len(every) - len(shown),
        "loop": f"{type(loop).__module__}.{type(loop).__qualname__}",
    }


def _age(task: asyncio.Task[Any]) -> tuple[int, int, str]:
    """Sorts tasks by the numbers that asyncio gives them, and those with names of their own behind."""
    name = task.get_name()
    number = name.removeprefix("Task-")
    return (0, int(number), "") if number.isdigit() else (1, 0, name)


def _running_frames(loop: asyncio.AbstractEventLoop) -> list[FrameType]:
    """The stack of the thread that runs the loop."""
    for ident, frame in sys._current_frames().items():
        if ident == getattr(loop, "_thread_id", None):
            return list(whole(frame))
    return list(whole(sys._current_frames().get(threading.main_thread().ident or 0)))


def _described(
    task: asyncio.Task[Any], numbers: dict[asyncio.Task[Any], int], running: list[FrameType] | None
) -> dict[str, Any]:
    coroutine = task.get_coro()
    chain = list(_chain(coroutine))
    if running is not None:
        stack = _own_part(running, coroutine)
    else:
        stack = [line(code, number) for code, number in reversed(chain)]
    waiter = getattr(task, "_fut_waiter", None)
    return {
        "name": task.get_name(),
        "coroutine": getattr(coroutine, "__qualname__", None) or repr(coroutine)[:200],
        "stack": stack[:_DEEPEST],
        "runs": running is not None,
        "awaits": None if waiter is None or isinstance(waiter, asyncio.Task) else type(waiter).__name__.lstrip("_"),
        "awaited_by": sorted({numbers[one] for one in _waiting_for(task) if one in numbers}),
    }


def _chain(awaited: Any) -> Iterator[tuple[CodeType, int | None]]:
    """The coroutines from a task's own to the one that waits, each with its line."""
    for _ in range(_DEEPEST):
        if inspect.iscoroutine(awaited):
            frame, code, following = awaited.cr_frame, awaited.cr_code, awaited.cr_await
        elif inspect.isgenerator(awaited):
            frame, code, following = awaited.gi_frame, awaited.gi_code, awaited.gi_yieldfrom
        elif inspect.isasyncgen(awaited):
            frame, code, following = awaited.ag_frame, awaited.ag_code, awaited.ag_await
        else:
            return
        if frame is None:
            return  # it has ended meanwhile
        yield code, frame.f_lineno
        awaited = following


def _own_part(running: list[FrameType], coroutine: Any) -> list[dict[str, Any]]:
    """What of the running thread's stack belongs to the task: from its coroutine on."""
    outermost = getattr(coroutine, "cr_frame", None)
    part = []
    for frame in running:
        part.append(line(frame.f_code, frame.f_lineno))
        if frame is outermost:
            return part
    return part  # a coroutine of C code


def _waiting_for(future: asyncio.Future[Any], further: int = _FURTHEST) -> Iterator[asyncio.Task[Any]]:
    """The tasks that wait for a future or a task, through `gather`, `wait`, `shield` or a task group.

    asyncio says that only from 3.14 on, but a future's callbacks lead there.
    """
    if further == 0:
        return
    for entry in list(getattr(future, "_callbacks", None) or ()):
        callback = entry[0] if isinstance(entry, tuple) else entry
        callback = getattr(callback, "func", callback)  # of a partial
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            yield owner
        elif isinstance(owner, asyncio.TaskGroup):
            if isinstance(parent := getattr(owner, "_parent_task", None), asyncio.Task):
                yield parent
        else:
            for beyond in _enclosed(callback):
                if beyond is not future:
                    yield from _waiting_for(beyond, further - 1)


def _enclosed(callback: Any) -> Iterator[asyncio.Future[Any]]:
    """The futures that a callback of asyncio's own completes."""
    if not str(getattr(callback, "__module__", "")).startswith("asyncio."):
        return
    names = callback.__code__.co_freevars
    for name, cell in zip(names, callback.__closure__ or (), strict=False):
        try:
            value = cell.cell_contents
        except ValueError:
            continue  # not yet set
        if name in ("outer", "waiter") and asyncio.isfuture(value):
            yield value
