"""An agent whose lease has passed is killed, even while it is stopped, and not before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from aiocluster._fleet.lease import SharedDeadline
from aiocluster._processes.clock import now

PROGRAM = """
import sys, time
from aiocluster._worker.lease import end_with_lease

end_with_lease(int(sys.argv[1]))
print("up", flush=True)
while True:  # it hardly ever lets another thread run
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing kills a process that is stopped")
def test_the_kernel_kills_a_process_that_is_stopped() -> None:
    deadline = SharedDeadline()
    first = now() + 5.0
    deadline.set(first)
    command = [sys.executable, "-c", PROGRAM, str(deadline.fd)]
    with subprocess.Popen(command, pass_fds=[deadline.fd], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            assert process.wait(30) == -signal.SIGKILL
            assert now() >= first
        finally:
            process.kill()
            deadline.close()


def test_a_lease_that_is_renewed_keeps_it_alive_and_one_that_is_lost_ends_it() -> None:
    deadline = SharedDeadline()
    deadline.set(now() + 3.0)
    command = [sys.executable, "-c", PROGRAM, str(deadline.fd)]
    with subprocess.Popen(command, pass_fds=[deadline.fd], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            deadline.set(now() + 60.0)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(3.5)
            deadline.set(0.0)
            assert process.wait(30) == -signal.SIGKILL
        finally:
            process.kill()
            deadline.close()
