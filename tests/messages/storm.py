"""What the workers of `test_chaos` run: each sends to the others as much as goes, and keeps a journal of what came.

A journal survives its worker's SIGKILL: each entry is written by one write(2), as part of handling the message.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from struct import Struct
from typing import Any

from aiocluster import ChannelClosedError, WorkerNotFoundError, current_worker
from aiocluster.events import Message, Undelivered

ENTRY = Struct("=cxxxIQ")  # what happened, the other's pid, the message's number
HANDLED = b"H"
RETURNED = b"R"
SENT = b"S"  # so many in all

_BURST = 40
_LARGE = 150_000  # bytes: goes in parts
_ONE_IN = 2000  # is large


async def storm(directory: str, workers: str) -> None:
    """Numbers the messages to each receiver from 0 on, and sends until a request says ``stop``.

    It sends less while one of the others is missing: the storm shall be at its height when the next one is killed.
    """
    worker = current_worker()
    journal = os.open(Path(directory) / str(worker.pid), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    handled: Counter[int] = Counter()
    sent: Counter[int] = Counter()
    stopped = asyncio.Event()

    @worker.on("message")
    def handle(event: Message) -> None:
        assert isinstance(event.sender, int)
        os.write(journal, ENTRY.pack(HANDLED, event.sender, event.message[0]))
        handled[event.sender] += 1

    @worker.on("undelivered")
    def take_back(event: Undelivered) -> None:
        os.write(journal, ENTRY.pack(RETURNED, event.pid, event.message[0]))

    def answer(message: Any, sender: int) -> Any:
        if message == "stop":
            stopped.set()
        return {"sent": dict(sent), "handled": dict(handled), "peers": list(worker.peers)}

    worker.handle_requests(answer)
    choose = random.Random(worker.id)
    small, large = b"x" * 64, b"x" * _LARGE
    while not stopped.is_set():
        is_calm = len(worker.peers) < int(workers) - 1
        await asyncio.sleep(0.002 if is_calm else 0)
        if not worker.peers:
            continue
        pid = choose.choice(worker.peers)
        try:
            for _ in range(1 if is_calm else choose.randrange(_BURST)):
                await worker.send_to(pid, [sent[pid], small if choose.randrange(_ONE_IN) else large])
                sent[pid] += 1
        except (WorkerNotFoundError, ChannelClosedError):
            pass  # it has just gone, and we were told: this one was not sent
        os.write(journal, ENTRY.pack(SENT, pid, sent[pid]))
    await asyncio.get_running_loop().create_future()
