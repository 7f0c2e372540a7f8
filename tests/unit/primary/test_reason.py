"""Why a worker ended, from all that the primary knows of it."""

from __future__ import annotations

import signal
from typing import get_args

import pytest

from aiocluster._primary.reason import IN_WORDS, Cause
from aiocluster._processes.exit_status import ExitStatus
from aiocluster.events import Reason

ABRT, KILL, TERM = signal.SIGABRT, signal.SIGKILL, signal.SIGTERM
UNKNOWN = None


@pytest.mark.parametrize(
    ("happened", "sent", "returncode", "reason"),
    [
        # by itself
        ([], [], 0, "returned"),
        ([], [], 1, "failed"),
        ([], [], 255, "failed"),
        ([], [], UNKNOWN, "failed"),
        (["failed"], [], 1, "failed"),
        (["failed"], [], 0, "failed"),
        # by leaving
        (["told"], [], 0, "told"),
        (["own"], [], 0, "own"),
        (["limit"], [], 0, "limit"),
        (["told"], [], 3, "told"),
        (["told", "failed"], [], 1, "told"),
        (["failed", "told"], [], 1, "failed"),
        (["own", "told"], [], 0, "own"),
        (["limit", "told"], [], 0, "limit"),
        (["told"], [(TERM, "told")], 0, "told"),
        (["told"], [(TERM, "told")], -TERM, "told"),
        # by a signal
        ([], [], -TERM, "killed"),
        ([], [], -signal.SIGSEGV, "killed"),
        ([], [(TERM, "killed")], -TERM, "killed"),
        (["told"], [], -KILL, "killed"),
        (["told"], [(TERM, "told")], -KILL, "killed"),
        ([], [(KILL, "told")], -KILL, "told"),
        (["own"], [(KILL, "told")], -KILL, "told"),
        ([], [(KILL, "failed")], -KILL, "failed"),
        ([], [(TERM, "killed"), (TERM, "told")], -TERM, "told"),
        # too late
        (["told"], [(TERM, "late")], -TERM, "late"),
        (["told"], [(TERM, "late"), (KILL, "late")], -KILL, "late"),
        (["told"], [(TERM, "late")], 0, "late"),
        (["failed"], [(TERM, "late")], 1, "late"),
        ([], [(KILL, "late")], -KILL, "late"),
        ([], [(ABRT, "hung")], -ABRT, "hung"),
        ([], [(ABRT, "hung"), (KILL, "hung")], -KILL, "hung"),
    ],
)
def test_the_reason(
    happened: list[Reason], sent: list[tuple[int, Reason]], returncode: int | None, reason: Reason
) -> None:
    cause = Cause()
    for what in happened:
        cause.happened(what)
    for number, why in sent:
        cause.sent(number, why)
    assert cause.reason(ExitStatus(returncode)) == reason


def test_each_has_its_words() -> None:
    assert set(IN_WORDS) == set(get_args(Reason))
