"""Sessions and flags that all workers share.

Who logs in at one worker is known to all. A session is a key of the cluster's state with a time to live; each use
prolongs it. What each request needs, such as whether the site is closed, is mirrored: it is read from the worker's own
memory, and kept current.

    $ python sessions.py
    the other worker: hello alice
    logged out: hello None
    flag:closed is True
    slot 0: we are closed
    slot 1: we are closed
"""

import asyncio
import secrets
from typing import Any

from aiocluster import Cluster, current_worker

WORKERS = 2
SECONDS = 1800.0  # that a session lasts without being used


async def log_in(user: str) -> str:
    token = secrets.token_urlsafe(16)
    await current_worker().state.set(f"session:{token}", {"user": user}, ttl=SECONDS)
    return token


async def find_user(token: str) -> str | None:
    state = current_worker().state
    session = await state.get(f"session:{token}")
    if session is None:
        return None
    await state.set(f"session:{token}", session, ttl=SECONDS)
    user: str = session["user"]
    return user


async def log_out(token: str) -> None:
    await current_worker().state.delete(f"session:{token}")


async def serve() -> None:
    """The worker. In a real program a web framework would call these functions."""
    worker = current_worker()
    async with worker.state.mirror("flag:") as flags:

        async def answer(request: Any, sender: int) -> Any:
            what, word = request
            if flags.get("flag:closed"):
                return "we are closed"
            if what == "log in":
                return await log_in(word)
            if what == "log out":
                return await log_out(word)
            return f"hello {await find_user(word)}"

        worker.handle_requests(answer)
        await worker.send("ready")
        await asyncio.get_running_loop().create_future()


async def main() -> None:
    cluster = Cluster(serve, workers=WORKERS)
    async with cluster.events("message") as messages, cluster:
        for _ in range(WORKERS):
            await anext(messages)
        first, second = cluster.workers.values()
        token = await first.request(["log in", "alice"])
        print("the other worker:", await second.request(["greet", token]))
        await second.request(["log out", token])
        print("logged out:", await first.request(["greet", token]))

        async with cluster.state.watch("flag:") as changes:
            await cluster.state.set("flag:closed", True)
            change = await anext(changes)
            print(change.key, "is", change.value)
        for worker in (first, second):
            while (said := await worker.request(["greet", token])) != "we are closed":
                await asyncio.sleep(0.01)  # it hears of it any moment
            print(f"slot {worker.slot}: {said}")


if __name__ == "__main__":
    asyncio.run(main())
