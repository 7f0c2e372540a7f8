"""A program that lowers its own limits, and says ``as it should``; test_handles.py runs it in a process of its own."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys

from aiocluster import HandleError, WorkerProcess

from . import inside
from .party import is_stopped, party

LIMIT = 100
SENT = 120  # the flow takes 126


def become_nobody() -> None:
    """Linux limits descriptors in flight for all but the privileged, for each user (unix(7), ETOOMANYREFS).

    So it is nobody else either: what another test has in flight is another user's.
    """
    if os.getuid() == 0:
        nobody = 20_000 + os.getpid() % 40_000
        os.setresuid(nobody, nobody, 0)


def become_who_we_were() -> None:
    _, _, saved = os.getresuid()
    os.setresuid(saved, saved, saved)


async def send_many(receiver: WorkerProcess) -> None:
    for number in range(SENT):
        one, other = socket.socketpair()
        other.close()
        await receiver.send(number, [one])
        await asyncio.sleep(0)


async def main() -> None:
    """A receiver is stopped, so what it is sent stays in flight, until the kernel lets no more descriptors go."""
    async with party(2) as all:
        a, b = all.workers
        await a._session.run(inside.hear, ["error"])
        await b._session.run(inside.hear, ["message"])
        await b._session.run(inside.hear, ["error"])
        b.kill(signal.SIGSTOP)
        await is_stopped(b)
        become_nobody()
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        await send_many(b)
        await a._session.run(inside.send_pairs, [b.pid, 1])  # a's own flow is not held up

        (event,) = await all.hears("error", 1)
        assert event.worker is b
        assert isinstance(event.error, HandleError)
        assert f"1 descriptors did not reach worker {b.id}" in str(event.error), event.error

        assert all_say("did not reach", await a._session.run(inside.heard_errors, [1]))
        become_who_we_were()
        b.kill(signal.SIGCONT)
        messages = await b._session.run(inside.heard_messages, [SENT + 1])
        arrived = sum(handles for _, _, handles in messages)
        assert LIMIT <= arrived < SENT
        whole, without = messages[:arrived], messages[arrived:]
        assert whole == [[os.getpid(), number, 1] for number in range(arrived)]
        assert without == [*([os.getpid(), number, 0] for number in range(arrived, SENT)), [a.pid, 0, 0]]
        assert len(all.heard("error")) == SENT - arrived
        assert all_say("descriptors from", await b._session.run(inside.heard_errors, [len(without)]))

        one, other = socket.socketpair()
        other.close()
        await b.send("the next", [one])
        assert (await b._session.run(inside.heard_messages, [SENT + 2]))[-1] == [os.getpid(), "the next", 1]


def all_say(what: str, errors: list[str]) -> bool:
    return all(error.startswith("HandleError: 1 ") and what in error for error in errors)


if __name__ == "__main__":
    factory = asyncio.new_event_loop
    if sys.argv[1] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    print("as it should")
