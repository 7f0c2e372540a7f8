"""How a process ended."""

from __future__ import annotations

import signal

import pytest

from aiocluster._processes.exit_status import ExitStatus


@pytest.mark.parametrize(
    ("returncode", "code", "number", "text"),
    [
        (0, 0, None, "exit code 0"),
        (3, 3, None, "exit code 3"),
        (-9, None, signal.SIGKILL, "signal SIGKILL"),
        (-15, None, signal.SIGTERM, "signal SIGTERM"),
    ],
)
def test_a_return_code_is_an_exit_code_or_a_signal(
    returncode: int, code: int | None, number: signal.Signals | None, text: str
) -> None:
    end = ExitStatus(returncode)
    assert (end.code, end.signal) == (code, number)
    assert str(end) == text


def test_a_signal_without_a_name_is_its_number() -> None:
    unnamed = next(number for number in range(35, 64) if number not in set(signal.Signals))
    end = ExitStatus(-unnamed)
    assert (end.code, end.signal) == (None, unnamed)
    assert str(end) == f"signal {unnamed}"


def test_an_end_that_nobody_knows() -> None:
    assert str(ExitStatus(None)) == "exit code None"
