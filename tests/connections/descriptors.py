"""This process without descriptors."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator


def no_descriptor_left() -> contextlib.AbstractContextManager[None]:
    """It can open no more."""
    return descriptors_left(0)


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """It can open only so many more, at most 20."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    used_up: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                used_up.append(os.dup(0))
        for _ in range(count):
            os.close(used_up.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in used_up:
            os.close(fd)


@contextlib.contextmanager
def no_new_descriptor() -> Iterator[None]:
    """It can open none, not even when it has closed others. It still may poll(2) eight of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = [os.dup(0)]
    while lowest[-1] < 8:
        lowest.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in lowest:
            os.close(fd)
