"""What runs in the workers of `test_stderr` and `test_stdin`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

from aiocluster import current_worker

HEIR = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.005)
os.write(2, b"from an heir\\n")
"""


def last_words() -> None:
    os.write(2, b"a line\nlast words, without an end")
    os.kill(os.getpid(), signal.SIGKILL)


def fail_with(size: str) -> None:
    os.write(2, b"." * int(size) + b"the end")
    os._exit(3)


async def prompt() -> None:
    os.write(2, b"continue? ")
    await asyncio.get_running_loop().create_future()


async def count_in_halves(lines: str) -> None:
    for number in range(int(lines)):
        os.write(2, b"worker %d " % os.getpid())
        os.write(2, b"line %d\n" % number)


async def flood(size: str) -> None:
    def write() -> None:
        for _ in range(int(size) // 100):
            os.write(2, b"x" * 99 + b"\n")

    await current_worker().send("begin")
    await asyncio.to_thread(write)
    await current_worker().send("done")
    await asyncio.get_running_loop().create_future()


def leave_an_heir(told: str) -> None:
    subprocess.Popen([sys.executable, "-c", HEIR, told])


async def tell_tty() -> None:
    columns = os.get_terminal_size(2).columns if os.isatty(2) else 0
    os.write(2, b"tty: %r, columns: %d\nnext line\n" % (sys.stderr.isatty(), columns))
    await current_worker().send("told")
    await asyncio.get_running_loop().create_future()


async def tell_standard_streams() -> None:
    """Sends whether each of the descriptors 0 to 2 is the null device."""
    null = os.stat(os.devnull).st_rdev
    await current_worker().send([os.fstat(fd).st_rdev == null for fd in range(3)])
    await asyncio.get_running_loop().create_future()


async def read_stdin() -> None:
    await current_worker().send(await asyncio.to_thread(sys.stdin.readline))
    await asyncio.get_running_loop().create_future()


def write_at_the_end_of_a_pipe() -> None:
    for _ in range(1000):
        os.write(2, b"nobody reads this\n")
        time.sleep(0.0001)
