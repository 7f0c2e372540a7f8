"""What workers of another user run. It imports nothing more: that user may not be allowed to read the library."""

from __future__ import annotations

import os
import signal
import time

from aiocluster import current_worker


async def tell_ids() -> None:
    await current_worker().send([os.getuid(), os.getgid(), os.getgroups()])


def sleeping() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)
