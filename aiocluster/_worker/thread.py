"""Threads of this package in a worker."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Final

OWN_THREADS: Final = "aiocluster-"
"""How the names of this package's threads begin."""


def start_thread(name: str, run: Callable[[], None]) -> None:
    """Starts a daemon thread that the kernel gives no signals: that would not wake the main thread, which has the
    handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
