"""Programs that lower their own limits, and say ``as it should``; test_channel.py runs each in a process of its own."""

from __future__ import annotations

import array
import asyncio
import os
import resource
import socket
import sys
from functools import partial

from aiocluster._wire.codec import RawFrame, encode
from aiocluster._wire.descriptors import Descriptors

from .ends import End, Pair, contents, marked

PLAIN = 1
CARRYING = End.WITH_DESCRIPTORS


def limit_descriptors(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def first_free() -> int:
    fd = os.dup(0)
    os.close(fd)
    return fd


async def out_of_descriptors() -> None:
    """A receiver without room loses the descriptors it has no room for, and no others."""
    heard: list[tuple[object, list[bytes]]] = []

    def hear(frame: RawFrame, take: object) -> None:
        assert callable(take)
        if frame[0] == CARRYING:
            descriptors = take()
            assert isinstance(descriptors, Descriptors)
            heard.append((frame[1], [contents(fd) for fd in descriptors.take()]))

    with Pair(hear) as (here, there):
        here.attach(), there.attach()
        sent = [marked(b"%d" % number) for number in range(6)]
        plenty = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

        limit_descriptors(first_free() + 2)
        here.channel.send(encode(PLAIN, "first"))
        here.channel.send(encode(CARRYING, "too many"), sent[:3])
        here.channel.send(encode(PLAIN, "between"))
        here.channel.send(encode(CARRYING, "fits"), sent[3:5])
        await there.hears(4)

        limit_descriptors(first_free())
        here.channel.send(encode(CARRYING, "no room at all"), sent[:2])
        here.channel.send(encode(PLAIN, "between"))
        await there.hears(6)

        limit_descriptors(plenty)
        here.channel.send(encode(CARRYING, "room again"), sent[5:])
        await there.hears(7)

        assert [frame[1] for frame in there.frames] == [
            "first",
            "too many",
            "between",
            "fits",
            "no room at all",
            "between",
            "room again",
        ]
        assert heard == [
            ("too many", [b"0", b"1"]),
            ("fits", [b"3", b"4"]),
            ("no room at all", []),
            ("room again", [b"5"]),
        ]
        assert there.ends == []


def become_nobody() -> None:
    """Linux limits descriptors in flight for all but the privileged, for each user (unix(7), ETOOMANYREFS).

    So it is nobody else either: what another test has in flight is another user's.
    """
    if os.geteuid() == 0:
        nobody = 20_000 + os.getpid() % 40_000
        os.setgroups([])
        os.setresgid(nobody, nobody, nobody)
        os.setresuid(nobody, nobody, nobody)


async def too_many_in_flight() -> None:
    """A sender with too many descriptors in flight waits until some are read, and goes on."""
    limit_descriptors(64)
    become_nobody()
    with Pair() as (here, there):
        here.attach()
        fds = [marked(b"%d" % number) for number in range(20)]
        for _ in range(10):
            here.channel.send(encode(CARRYING, len(fds)), fds)
        here.channel.send(encode(PLAIN, "last"))
        await asyncio.sleep(0.1)  # any number of vain attempts
        assert 4 <= here.sock.sends < 50, here.sock.sends
        there.attach()
        frames = await there.hears(11)
        assert frames == [[CARRYING, 20]] * 10 + [[PLAIN, "last"]]
        assert there.contents == [[b"%d" % number for number in range(20)] if n == 0 else [b""] * 20 for n in range(10)]


async def too_many_in_flight_for_long() -> None:
    """A sender whose descriptors nobody reads sends what it has without them, in order."""
    limit_descriptors(64)
    become_nobody()
    released: list[int] = []
    with Pair() as (here, there):
        here.attach()
        fds = [marked(b"x") for _ in range(20)]

        def send(number: int) -> None:
            instead = encode(PLAIN, f"without {number}")
            here.channel.send(encode(CARRYING, len(fds)), fds, lambda: released.append(number), lambda: instead)

        for number in range(6):
            send(number)
        here.channel.send(encode(PLAIN, "last"))
        while len(released) < 6:
            await asyncio.sleep(0.01)
        there.attach()
        frames = await there.hears(7)
        assert frames == [*[[CARRYING, 20]] * 4, [PLAIN, "without 4"], [PLAIN, "without 5"], [PLAIN, "last"]]
        send(6)
        assert (await there.hears(8))[-1] == [CARRYING, 20]
        assert released == list(range(7))


async def too_many_in_flight_at_the_end() -> None:
    """A process that ends does not wait for ever, and loses nothing else."""
    limit_descriptors(64)
    become_nobody()
    released: list[int] = []
    with Pair() as (here, there):
        fds = [marked(b"x") for _ in range(20)]
        for number in range(6):
            here.channel.send(encode(CARRYING, len(fds)), fds, partial(released.append, number))
        here.channel.send(encode(PLAIN, "last"))
        here.channel.flush_blocking()
        assert released == list(range(6))
        there.attach()
        assert await there.hears(5) == [*[[CARRYING, 20]] * 4, [PLAIN, "last"]]


async def too_many_in_flight_after_waiting() -> None:
    """The same for a sender that waited for room: it must not try again and again without a pause."""
    limit_descriptors(64)
    become_nobody()
    hog, hogged = socket.socketpair()
    fds = [marked(b"x") for _ in range(20)]
    rights = array.array("i", fds)
    hog.setblocking(False)
    while True:
        try:
            hog.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError:
            break
    with Pair() as (here, there):
        here.attach()
        for number in range(64):
            here.channel.send(encode(PLAIN, number, b"x" * 64 * 1024))
        here.channel.send(encode(CARRYING, 1), fds[:1])
        await asyncio.sleep(0)
        there.attach()
        await there.hears(64)
        sends = here.sock.sends
        await asyncio.sleep(0.2)
        assert here.sock.sends - sends < 100, here.sock.sends - sends
        hog.close()
        hogged.close()
        await there.hears(65)
        assert there.contents == [[b"x"]]


if __name__ == "__main__":
    factory = asyncio.new_event_loop
    if sys.argv[2] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(globals()[sys.argv[1]]())
    print("as it should")
