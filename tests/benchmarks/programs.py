"""Starts the programs that are measured, hears what they have to say, and ends them.

A measured program speaks one line of JSON on stdout. It is of one of two kinds: one that measures
by itself, prints its result and ends (`answer`), and a server that prints its port and lives
until its stdin is closed (`serving`), so that none outlives a driver that dies.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]

ANSWER_WITHIN = 60.0
"""Seconds one sample may take. Each is sized for about one; this is for the one that hangs."""
READY_WITHIN = 20.0
"""Seconds a server has to begin to listen."""
GONE_WITHIN = 10.0
"""Seconds a server has to end when asked to."""


class ProgramFailed(Exception):
    """A measured program broke, hung or said something unexpected."""


def answer(command: Sequence[str]) -> Any:
    """Run a program to its end and return the JSON of the last line it printed.

    Raises:
        ProgramFailed: It exited with an error, took too long, or printed no JSON.
    """
    with _started(command, stdin=subprocess.DEVNULL) as (process, stderr):
        try:
            stdout, _ = process.communicate(timeout=ANSWER_WITHIN)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"no result within {ANSWER_WITHIN:g} s: {_last_words(stderr)}") from None
        if process.returncode != 0:
            raise ProgramFailed(f"exit code {process.returncode}: {_last_words(stderr)}")
        return _parsed(stdout.rstrip("\n").rpartition("\n")[2], stderr)


@contextmanager
def serving(command: Sequence[str]) -> Iterator[int]:
    """Run a server that prints ``{"port": n}`` for as long as the block lasts.

    Yields:
        Its port.

    Raises:
        ProgramFailed: It did not begin to listen.
    """
    with _started(command, stdin=subprocess.PIPE) as (process, stderr):
        assert process.stdin is not None
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], READY_WITHIN)[0]:
            raise ProgramFailed(f"no port within {READY_WITHIN:g} s: {_last_words(stderr)}")
        try:
            yield int(_parsed(process.stdout.readline(), stderr)["port"])
        finally:
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GONE_WITHIN)


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says nothing, and end it by SIGTERM when the block is left."""
    with _started(command, stdin=subprocess.DEVNULL) as (process, _):
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GONE_WITHIN)


@contextmanager
def _started(command: Sequence[str], *, stdin: int) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    with (
        tempfile.TemporaryFile("w+", errors="replace") as stderr,
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # A session of its own, so that what is left of it can be ended as a whole.
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process, stderr
        finally:
            # Before the leader is reaped its pid can't be anybody else's, and so can't the group's.
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _parsed(line: str, stderr: IO[str]) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise ProgramFailed(f"no JSON but {line!r}: {_last_words(stderr)}") from None


def _last_words(stderr: IO[str]) -> str:
    stderr.seek(0)
    lines = stderr.read().strip().splitlines() or ["nothing on stderr"]
    # Node's last line is its version, Python's is the error.
    return next((line for line in reversed(lines) if "Error" in line), lines[-1])
