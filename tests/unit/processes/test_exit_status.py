"""How a process ended."""

from __future__ import annotations

import signal

import pytest

from aiocluster._processes.exit_status import ExitStatus, exit_status


@pytest.mark.parametrize(
    ("code", "expected", "text"),
    [
        (0, ExitStatus(0, None), "exit code 0"),
        (3, ExitStatus(3, None), "exit code 3"),
        (-9, ExitStatus(None, signal.SIGKILL), "signal SIGKILL"),
        (-15, ExitStatus(None, signal.SIGTERM), "signal SIGTERM"),
    ],
)
def test_a_return_code_is_an_exit_code_or_a_signal(code: int, expected: ExitStatus, text: str) -> None:
    assert exit_status(code) == expected
    assert str(exit_status(code)) == text


def test_a_signal_without_a_name_is_its_number() -> None:
    unnamed = next(number for number in range(35, 64) if number not in set(signal.Signals))
    end = exit_status(-unnamed)
    assert (end.code, end.signal) == (None, unnamed)
    assert str(end) == f"signal {unnamed}"


def test_an_end_that_nobody_knows() -> None:
    assert str(ExitStatus(None, None)) == "exit code None"
