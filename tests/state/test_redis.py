"""What only the engine in a Redis has: its connections, and what a Redis may do to it. The contract is elsewhere."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import msgpack
import pytest

from aiocluster import BackplaneError
from aiocluster._redis.connect import socket_of
from aiocluster._redis.line import Line
from aiocluster._redis.subscriber import Subscriber
from aiocluster._state.engine import Changed
from aiocluster._state.redis import RedisEngine
from aiocluster._state.state import State
from tests.conftest import BOTH
from tests.support.redis import RedisServer, started

GUIDE = Path(__file__).parents[2] / "docs/how-to/state.md"
both_loops = pytest.mark.asyncio(loop_factories=sorted(BOTH))


@asynccontextmanager
async def engine_of(url: str) -> AsyncIterator[RedisEngine]:
    if "socket_timeout" not in url:  # a busy machine may take longer than the usual 5 seconds
        url += f"{'&' if '?' in url else '?'}socket_timeout=40"
    engine = RedisEngine(url)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def state_of(url: str) -> AsyncIterator[State]:
    async with engine_of(url) as engine:
        yield State._create(engine)


@both_loops
async def test_ints_of_all_sizes(redis_server: RedisServer) -> None:
    async with state_of(redis_server.url) as state:
        for value in (
            0,
            1,
            -1,
            127,
            128,
            -32,
            -33,
            2**53 + 1,
            2**63 - 1,
            2**63,
            2**64 - 1,
            -(2**63),
            True,
            1.0,
            b"1",
            "-1",
        ):
            assert await state.set("n", value)
            got = await state.get("n")
            assert got == value
            assert type(got) is type(value)
            assert await state.replace("n", value, [value])
        await state.set("n", 2**53)
        assert await state.incr("n") == 2**53 + 1
        await state.set("n", 2**63)
        assert await state.incr("n", -1) == 2**63 - 1
        with pytest.raises(OverflowError, match="has more than 64 bits; it has not changed"):
            await state.incr("n")
        assert await state.get("n") == 2**63 - 1
        for other in (True, 1.0, "1", b"1", None, [1]):
            await state.set("n", other)
            with pytest.raises(TypeError, match="the value of 'n' is no int"):
                await state.incr("n")


@both_loops
async def test_the_operations_of_one_turn_are_one_write(redis_server: RedisServer) -> None:
    async with state_of(redis_server.url) as state:
        await state.set("n", 0)
        before = redis_server.ask("INFO", "stats")["total_reads_processed"]
        sums = await asyncio.gather(*(state.incr("n") for _ in range(100)))
        assert sorted(sums) == list(range(1, 101))
        reads = redis_server.ask("INFO", "stats")["total_reads_processed"] - before
        assert reads < 10
        assert redis_server.ask("INFO", "clients")["connected_clients"] == 2  # this one's, and that of the question


async def test_the_names_of_keys_are_no_patterns(redis_server: RedisServer) -> None:
    async with state_of(redis_server.url) as state:
        names = ["a*", "ab", "a?", "[ab]", "a\\", "a", "ä{x}", "", "a b\n"]
        for name in names:
            await state.set(name, name)
        for prefix in ("", "a*", "[", "a\\", "ä{", "a ", "b"):
            assert await state.keys(prefix) == sorted(name for name in names if name.startswith(prefix))
        async with state.watch("a*") as changes:
            await state.set("ab", 1)
            await state.set("a*", 2)
            assert (await anext(changes)).key == "a*"
    async with state_of(f"{redis_server.url}?prefix=other") as other:
        assert await other.keys() == []


@both_loops
async def test_a_watcher_is_told_of_expiry(redis_server: RedisServer) -> None:
    async with state_of(redis_server.url) as state:
        await state.set("a", 1, ttl=1)
        await state.set("b", 1, ttl=100)
        async with state.watch() as changes:
            begun = asyncio.get_running_loop().time()
            await asyncio.gather(  # in this order, as one write
                state.set("b", 2, ttl=1.1),
                state.incr("c", ttl=1.2),
                state.incr("c"),
                state.set("d", 1, ttl=1),
                state.replace("d", 1, 2),
                state.set("e", 1, ttl=1),
                state.set("e", 2),
            )
            heard: dict[str, list[object]] = {}
            gone = 0
            while gone < 4:
                change = await anext(changes)
                assert change.deleted == (change.value is None)
                heard.setdefault(change.key, []).append(change.value)
                gone += change.deleted
            assert asyncio.get_running_loop().time() - begun > 1.1
        assert heard == {"a": [None], "b": [2, None], "c": [1, 2, None], "d": [1, 2, None], "e": [1, 2]}
        assert await state.get("e") == 2


@both_loops
async def test_a_lock_is_handed_on(redis_server: RedisServer) -> None:
    async with (
        state_of(redis_server.url) as one,
        engine_of(redis_server.url) as dead,
        state_of(redis_server.url) as two,
    ):
        tokens = []
        async with one.lock("job") as lease:
            tokens.append(lease.token)
            waiting = asyncio.create_task(_token(two, "job"))
            while redis_server.ask("PUBSUB", "NUMSUB", b"aiocluster:lock:job")[1] == 0:
                await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                async with two.lock("job", timeout=0):
                    pass
        async with asyncio.timeout(3):  # the release was heard: who waits would ask after 5 s
            tokens.append(await waiting)
        token = await dead.acquire("job", "dead", 0.2)
        assert token is not None
        tokens.append(token)
        async with asyncio.timeout(3):  # and so is the expiry of the lock of one who is gone
            tokens.append(await _token(one, "job"))
        assert not await dead.renew("job", "dead", 10)
        assert not await dead.release("job", "dead")
        redis_server.ask("FLUSHALL")
        tokens.append(await _token(one, "job"))
        assert tokens == sorted(set(tokens))


async def _token(state: State, name: str) -> int:
    async with state.lock(name) as lease:
        return lease.token


@both_loops
async def test_connections_are_cut(redis_server: RedisServer) -> None:
    async with state_of(redis_server.url) as state:
        await state.set("n", 1)
        async with state.mirror() as mirror:
            for _ in range(3):
                assert redis_server.cut() == 1
                assert await state.incr("n") > 1  # the one that ended at rest was seen to end, and there is another
            assert redis_server.cut("pubsub") == 1
            await _until(lambda: not mirror.is_current)
            await state.set("n", 7)
            await _until(lambda: mirror.is_current and mirror["n"] == 7)
            await state.set("n", 8)
            await _until(lambda: mirror["n"] == 8)


class _Muted:
    """Stands between a client and a Redis. While it is muted no reply comes, and after the first one it hangs up."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_muted = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        replies, commands = await asyncio.open_unix_connection(str(self._server.socket))

        async def ask() -> None:
            while data := await reader.read(65536):
                commands.write(data)
            commands.close()

        asking = asyncio.create_task(ask())
        try:
            while (data := await replies.read(65536)) and not self.is_muted:
                writer.write(data)
        finally:
            self.is_muted = False
            writer.close()
            await asking

    async def ended(self) -> None:
        await asyncio.wait(self._tasks)


@both_loops
async def test_a_connection_breaks_before_the_reply(redis_server: RedisServer) -> None:
    between = _Muted(redis_server)
    async with await asyncio.start_server(between, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with state_of(f"redis://127.0.0.1:{port}") as state:
            await state.set("n", 0)
            await state.incr("n")  # from now on the server knows the script
            between.is_muted = True
            assert await state.get("n") == 1  # asked again
            between.is_muted = True
            with pytest.raises(BackplaneError, match="may or may not have been done: Connection closed by server"):
                await state.incr("n")
            assert await state.get("n") == 2
            between.is_muted = True
            async with state.lock("job") as lease:  # asked again by the same owner, who then has it already
                between.is_muted = True
                with pytest.raises(BackplaneError):
                    await state.delete("n")
            async with state.lock("job", timeout=0) as other:
                assert other.token > lease.token
        await between.ended()


async def _until(condition: object) -> None:
    assert callable(condition)
    while not condition():
        await asyncio.sleep(0.005)


@both_loops
async def test_a_redis_that_restarts(own_redis: RedisServer) -> None:
    async with state_of(own_redis.url) as state, engine_of(own_redis.url) as engine:
        await state.set("n", 5)
        async with engine.watch("") as changes, state.lock("job", ttl=0.5) as lease:
            own_redis.restart()
            assert await state.incr("n") == 6
            async with state.watch() as more:  # the same pattern, which was heard before the restart
                await state.set("n", 7)
                assert (await anext(more)).value == 7
            own_redis.kill()
            with pytest.raises(BackplaneError, match="can't be reached") as caught:
                await state.get("n")
            assert str(own_redis.socket) in str(caught.value)
            with pytest.raises(BackplaneError, match="changes may have been missed"):
                while True:
                    assert isinstance(await anext(changes), Changed)
            own_redis.empty()
            own_redis.start()  # with no script, either
            assert await state.incr("n") == 1
            assert await state.replace("n", 1, 2)
            await lease.lost.wait()
            async with state.lock("job") as other:
                assert other.token > lease.token
            async with engine.watch("") as again:
                await state.delete("n")
                assert await anext(again) == Changed("n", None)


async def test_a_frozen_redis(own_redis: RedisServer) -> None:
    async with state_of(f"{own_redis.url}?socket_timeout=0.2") as state:
        await state.set("n", 1)
        os.kill(own_redis.pid, signal.SIGSTOP)
        try:
            with pytest.raises(BackplaneError, match=r"may or may not have been done: no answer for 0\.2 s"):
                await state.set("n", 2)
            with pytest.raises(BackplaneError, match=r"no connection within 0\.2 s"):
                await state.get("n")
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)
        assert await state.get("n") in (1, 2)


async def test_cancellation(redis_server: RedisServer) -> None:
    async with state_of(redis_server.url) as state:
        await state.set("n", 0)
        tasks = [asyncio.create_task(state.incr("n")) for _ in range(30)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.sleep(0)
        for task in tasks[1::3]:
            task.cancel()
        done = [await task for task in tasks[2::3]]
        assert len(set(done)) == 10
        assert await state.get("n") == max(done) <= 20 + 10


async def test_users_and_passwords() -> None:
    with started("--requirepass", "top secret") as server:
        (guides,) = re.findall(r"^ACL SETUSER shop on >secret (.*)$", GUIDE.read_text(), re.MULTILINE)
        server.ask("ACL", "SETUSER", "app", "on", ">pw", *guides.split(), password="top secret")
        server.ask(
            "ACL", "SETUSER", "mute", "on", ">pw", "~aiocluster:*", "resetchannels", "+@all", password="top secret"
        )
        for url in (
            f"unix://:top%20secret@{server.socket}",
            f"{server.url}?password=top+secret",
            f"redis://app:pw@127.0.0.1:{server.port}",
        ):
            async with engine_of(url) as engine:
                await engine.reach()
        for url, what in (
            (server.tcp_url, "refuses the user or the password: Authentication required"),
            (f"redis://:hunter2@127.0.0.1:{server.port}", "refuses the user or the password"),
            (f"redis://app:hunter2@127.0.0.1:{server.port}/0", "refuses the user or the password"),
            (f"redis://mute:pw@127.0.0.1:{server.port}", "does not permit that to this user"),
        ):
            async with engine_of(url) as engine:
                with pytest.raises(BackplaneError, match=what) as caught:
                    await engine.reach()
                shown = f"{caught.value!r} {engine!r}"
                assert "hunter2" not in shown
                assert "pw@" not in shown
                assert "\n" not in str(caught.value)
        async with engine_of(f"redis://app:pw@127.0.0.1:{server.port}") as engine:
            with pytest.raises(BackplaneError, match="does not permit that to this user"):
                async with engine.watch("x"):
                    pass
            async with state_of(f"redis://app:pw@127.0.0.1:{server.port}") as state:
                async with state.watch("cache:") as changes, state.lock("job"):
                    assert await state.set("cache:1", 1, ttl=60)
                    assert await state.replace("cache:1", 1, 2)
                    assert await state.incr("cache:1") == 3
                    assert await state.delete("cache:1")
                    assert [(await anext(changes)).value for _ in range(4)] == [1, 2, 3, None]
                    assert await state.keys() == []
                    assert await state.get_many(["x"]) == {}
                    assert await engine.acquire("job", "other", 1) is None


def test_one_loop_after_the_other(redis_server: RedisServer) -> None:
    engine = RedisEngine(redis_server.url)

    async def count() -> int:
        async with engine.watch("n") as changes:
            sum_ = await engine.incr("n", 1, None)
            assert await anext(changes) == Changed("n", msgpack.packb(sum_))
        return sum_

    async def end() -> int:
        sum_ = await count()
        await engine.close()
        return sum_

    for number in range(1, 4):
        assert asyncio.run(count()) == number
    with ThreadPoolExecutor(2) as threads:  # and several at once
        sums = [*threads.map(lambda _: asyncio.run(count_on(engine)), range(2))]
    assert max(sums) == 203
    assert asyncio.run(end()) == 204
    assert redis_server.ask("INFO", "clients")["connected_clients"] == 1


async def count_on(engine: RedisEngine) -> int:
    for _ in range(99):
        await engine.incr("n", 1, None)
    return await engine.incr("n", 1, None)


async def test_a_forked_child_lets_go(redis_server: RedisServer) -> None:
    async with engine_of(redis_server.url) as engine, engine.watch("") as changes:
        await engine.incr("n", 1, None)
        (client,) = engine._clients.values()
        for part in (client._line, client._subscriber):
            assert isinstance(part, Line | Subscriber)
            assert part._connection is not None
            ours = socket_of(part._connection)
            assert ours is not None
            kept = os.dup(ours.fileno())
            part.abandon()  # what a child does with its copies
            assert os.path.samestat(os.fstat(ours.fileno()), os.stat(os.devnull))
            os.dup2(kept, ours.fileno())  # the parent's were there all the time
            os.close(kept)
        assert await engine.incr("n", 1, None) == 2
        assert [await anext(changes), await anext(changes)] == [Changed("n", b"\x01"), Changed("n", b"\x02")]


async def test_what_redis_py_refuses(redis_server: RedisServer) -> None:
    for option in ("colour=red", "socket_timeout=never", "socket_connect_timeout=x"):
        with pytest.raises(BackplaneError, match=option.partition("=")[0]):
            async with engine_of(f"{redis_server.url}?{option}") as engine:
                await engine.reach()
