"""Starts a cluster in the background, and waits until it is up or has failed."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import protocol
from .client import Connection, ControlError, NotRunningError, Told
from .clusters import known
from .folders import private
from .log_file import last_lines
from .memory import HeldError, Memory, Start

_POLL = 0.02  # seconds between looks for its socket: nothing tells when it is there
_LAST_KEEPER = 10.0  # seconds to wait for the keeper of the one before, which may wait for its workers to end
_OF_THE_END = 20  # lines of a log in which the reason of a failure is looked for


class StartFailedError(Exception):
    """A cluster in the background has ended before it was up. The text is one line.

    Attributes:
        code: Its exit code, 1 or 2.
    """

    def __init__(self, reason: str, code: int) -> None:
        self.code = code
        super().__init__(reason)


def launch(start: Start, memory: Memory, wait: float, told: Told) -> dict[str, Any]:
    """Starts a cluster that goes on when this process has ended.

    Args:
        start: How.
        memory: Where its files are.
        wait: Seconds to wait for a port, once its workers are online.
        told: Called with what happens to its workers.

    Returns:
        What it tells of itself.

    Raises:
        StartFailedError: It has ended.
        OSError: Its files can't be written, or no process can be started.
    """
    private(memory.folder)
    with contextlib.ExitStack() as files, contextlib.ExitStack() as nameless:
        read, write = os.pipe()
        files.callback(os.close, read)
        try:
            with memory.held("keeper", _LAST_KEEPER) as lock:
                nameless.enter_context(memory.held("starting"))
                memory.remember(start)
                start_keeper([str(memory.folder), str(write)], [write, lock])
        except HeldError:
            raise StartFailedError("the one before has not ended yet, or somebody else starts it", 1) from None
        finally:
            os.close(write)
        return _wait(start, memory, read, wait, told, nameless.close)


def start_keeper(words: Sequence[str], fds: Sequence[int]) -> int:
    """Starts a keeper that outlives this process. Returns its pid.

    Args:
        words: What it is told.
        fds: The descriptors that it inherits.

    Raises:
        OSError: No process can be started.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-P", "-m", "aiocluster._control.keeper", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=fds,
        start_new_session=True,
    )
    keeper.returncode = 0  # it is not waited for: once this process has ended, init reaps it
    return keeper.pid


def _wait(
    start: Start, memory: Memory, ended: int, wait: float, told: Told, has_name: Callable[[], None]
) -> dict[str, Any]:
    refused = ""
    with contextlib.ExitStack() as stack:
        connection: Connection | None = None
        while True:
            if connection is None and (connection := _connect(start.name)) is not None:
                stack.enter_context(connection)
                has_name()
                connection.send(protocol.Up(wait))
            waited_for: list[Any] = [ended] if connection is None or refused else [ended, connection]
            readable, _, _ = select.select(waited_for, [], [], _POLL if connection is None else None)
            if connection is not None and connection in readable:
                try:
                    while (answer := connection.receive(0)) is not None:
                        match answer:
                            case protocol.Progress():
                                told(answer.event)
                            case protocol.Done():
                                return answer.body
                            case protocol.Refused():
                                refused = answer.text.partition("\n")[0]
                                break
                except ControlError:
                    refused = refused or " "  # it has gone: how it has ended is known soon
            elif ended in readable:
                code = (memory.exit or {}).get("code")
                raise StartFailedError(_reason(memory, refused.strip()), 2 if code == 2 else 1)


def _connect(name: str) -> Connection | None:
    one = known().get(name)
    if one is None or one.claimed is None or not one.is_alive:
        return None
    try:
        return Connection(one.claimed.socket)
    except NotRunningError:
        return None  # it has the name, and will listen soon


def _reason(memory: Memory, told: str) -> str:
    """Returns why it has failed: the last line of its log in which it says so, what it has told, or its last line."""
    lines = [line.decode(errors="replace").strip() for line in last_lines(memory.log, _OF_THE_END)]
    said = [line for line in lines if line and not line.startswith("---")]
    own = [line.removeprefix("aiocluster: ") for line in said if line.startswith("aiocluster: ")]
    return (own or [told] if own or told else said or lines or ["it has ended without a word"])[-1]
