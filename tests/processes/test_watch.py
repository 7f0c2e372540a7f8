"""How the end of a process is heard of, if it is this process's own child, and if it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from aiocluster._processes.exit_status import ExitStatus
from aiocluster._processes.start import environment, start
from aiocluster._processes.watch import ForeignProcess, OwnProcess

NOTHING = (subprocess.DEVNULL,) * 3


def sleeping() -> OwnProcess:
    return start(["sleep", "60"], NOTHING, env=environment(None, {}))


@pytest.fixture(params=["pidfd", "no_pidfd"], autouse=True)
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "no_pidfd":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no pidfds")
    return str(request.param)


@pytest.mark.parametrize(
    ("line", "status"), [("exit 7", ExitStatus(7)), ("kill -USR1 $$", ExitStatus(-signal.SIGUSR1))]
)
async def test_a_child_of_this_process(line: str, status: ExitStatus) -> None:
    process = start(["/bin/sh", "-c", line], NOTHING, env=environment(None, {}))
    assert await process.ended == status
    assert not process.send_signal(signal.SIGTERM)
    process.reap()
    process.reap()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, 0)


async def test_a_signal() -> None:
    process = sleeping()
    assert process.send_signal(signal.SIGTERM)
    assert await process.ended == ExitStatus(-signal.SIGTERM)
    process.reap()


async def test_another_processs_child() -> None:
    process = sleeping()
    foreign = ForeignProcess(process.pid)
    assert foreign.send_signal(signal.SIGTERM)
    await process.ended
    process.reap()
    assert not foreign.ended.done()
    foreign.tell(-signal.SIGTERM)
    assert await foreign.ended == ExitStatus(-signal.SIGTERM)
    assert not foreign.send_signal(signal.SIGTERM)
    foreign.reap()


async def test_another_processs_child_that_was_reaped_before_this_process_knew_of_it() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    foreign = ForeignProcess(ended.pid)
    assert not foreign.send_signal(0)
    foreign.tell(3)
    assert await foreign.ended == ExitStatus(3)


async def test_nobody_is_left_who_could_tell(system: str) -> None:
    process = sleeping()
    foreign = ForeignProcess(process.pid)
    foreign.tell_no_more()
    assert foreign.ended.done() == (system == "no_pidfd")
    process.send_signal(signal.SIGKILL)
    assert await foreign.ended == ExitStatus(None)
    foreign.reap()
    await process.ended
    process.reap()
