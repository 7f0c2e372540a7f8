"""The tasks of the event loop: what each waits for, and which task waits for which."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import threading
from collections import deque
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from ..places import whole
from .stacks import line

_MOST = 5000  # tasks that are shown
_DEEPEST = 50  # frames of a task: coroutines that wait for one another
_LONGEST_CHAIN = 10_000  # of these, to the innermost one
_FURTHEST = 20  # futures between a task and one that waits for it

_WRAPPERS = {"async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"}
"""What is awaited in place of an async generator or a coroutine, and does not say which."""

_REACHED_BY = ("waiter", "outer", "done", "_done", "_parent_task", "_host_task")
"""The names of what is completed: of `wait` and `wait_for`, `gather` and `shield`, `as_completed`, and task groups."""


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
    chain = deque(_chain(coroutine), maxlen=_DEEPEST)
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
    for _ in range(_LONGEST_CHAIN):
        if inspect.iscoroutine(awaited):
            frame, code, following = awaited.cr_frame, awaited.cr_code, awaited.cr_await
        elif inspect.isgenerator(awaited):
            frame, code, following = awaited.gi_frame, awaited.gi_code, awaited.gi_yieldfrom
        elif inspect.isasyncgen(awaited):
            frame, code, following = awaited.ag_frame, awaited.ag_code, awaited.ag_await
        elif type(awaited).__name__ in _WRAPPERS:
            awaited = next(filter(_has_frame, gc.get_referents(awaited)), None)
            continue
        else:
            return
        if frame is None:
            return  # it has ended meanwhile
        yield code, frame.f_lineno
        awaited = following


def _has_frame(one: object) -> bool:
    return inspect.iscoroutine(one) or inspect.isgenerator(one) or inspect.isasyncgen(one)


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
    """The tasks that wait for a future or a task, through asyncio's functions or a task group of asyncio or anyio.

    asyncio says that only from 3.14 on, but a future's callbacks lead there.
    """
    for entry in list(getattr(future, "_callbacks", None) or ()):
        for beyond in _completed_by(entry[0] if isinstance(entry, tuple) else entry):
            if isinstance(beyond, asyncio.Task):
                yield beyond
            elif beyond is not future and further > 0:
                yield from _waiting_for(beyond, further - 1)


def _completed_by(callback: Any) -> Iterator[asyncio.Future[Any]]:
    """What goes on when a callback of a future has been called: the task that waits, or another future."""
    function = getattr(callback, "func", callback)  # of a partial
    owner = getattr(function, "__self__", None)
    if isinstance(owner, asyncio.Task):
        yield owner
    elif str(getattr(function, "__module__", "")).startswith(("asyncio.", "anyio.")):
        found = [(_REACHED_BY[0], one) for one in getattr(callback, "args", ())]
        found += _enclosed(function)
        if owner is not None:
            found += [(name, getattr(owner, name, None)) for name in _REACHED_BY]
        for name, value in found:
            if name not in _REACHED_BY:
                continue
            if isinstance(value, asyncio.Queue):  # of as_completed
                yield from (one for one in list(getattr(value, "_getters", ())) if asyncio.isfuture(one))
            elif asyncio.isfuture(value):
                yield value


def _enclosed(function: Any) -> list[tuple[str, Any]]:
    """What a function has of the one in which it is defined; of anyio's, its task group's scope."""
    found = []
    code = getattr(function, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=False):
        try:
            value = cell.cell_contents
        except ValueError:
            continue  # not yet set
        scope = getattr(value, "cancel_scope", None) if name == "self" else None
        found.append((name, value) if scope is None else ("_host_task", getattr(scope, "_host_task", None)))
    return found
