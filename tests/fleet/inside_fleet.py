"""What workers and agents of the tests' fleets run."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from aiocluster import current_worker
from aiocluster.events import Message, Undelivered


async def answer() -> None:
    """Answers requests with this process's pid, the request and its sender, and tells the primary of messages."""
    worker = current_worker()

    async def do(request: list[Any], sender: int | str) -> Any:
        match request:
            case ["echo", message]:
                return [os.getpid(), message, sender]
            case ["ask", to, message]:
                return await worker.request_to(to, message, timeout=10)
            case ["send", to, message]:
                await worker.send_to(to, message)
            case ["members"]:
                return {host: list(pids) for host, pids in worker.fleet.members.items()}
            case ["broadcast", message]:
                await worker.fleet.broadcast(message)
            case ["freeze"]:
                worker.handle_requests(lambda request, sender: asyncio.Event().wait())
        return None

    @worker.on("message")
    async def tell(event: Message) -> None:
        await worker.send(["got", event.sender, event.message])

    @worker.on("undelivered")
    async def give_back(event: Undelivered) -> None:
        await worker.send(["undelivered", event.pid, event.message])

    worker.handle_requests(do)
    await asyncio.Event().wait()
