"""What the state promises, whichever engine keeps it: one client after the other, and two at once."""

from __future__ import annotations

import asyncio
import datetime
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiocluster import MessageTooLargeError, SerializationError
from aiocluster._state.backlog import MOST
from aiocluster._state.engine import Engine
from aiocluster._state.state import MAX_KEY, State
from aiocluster._wire.codec import pack, unpack
from tests.conftest import BOTH
from tests.support.state import Model

from .engines import Connect

pytestmark = pytest.mark.asyncio(loop_factories=sorted(BOTH))

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**64 - 1,
    -(2**63),
    1.5,
    "é",
    b"\x00\xff",
    [],
    [1, [2]],
    {"a": {1: b"x"}},
    datetime.datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=datetime.UTC),
    "x" * 70_000,
    b"x" * 3_000_000,
]


async def test_keys_and_values(state: State, other: State) -> None:
    assert await state.get("a") is None
    assert await state.get("a", 7) == 7
    for n, value in enumerate(VALUES):
        assert await state.set(f"v:{n}", value) is True
        assert await other.get(f"v:{n}", "missing") == value
    assert await state.keys("v:") == sorted(f"v:{n}" for n in range(len(VALUES)))
    assert await state.keys("w") == []
    found = await other.get_many([*(f"v:{n}" for n in range(len(VALUES))), "missing", "v:0"])
    assert found == {f"v:{n}": value for n, value in enumerate(VALUES)}
    assert await state.get_many([]) == {}
    assert await state.set("a", 1, if_absent=True) is True
    assert await other.set("a", 2, if_absent=True) is False
    assert await other.get("a") == 1
    assert await other.delete("a") is True
    assert await state.delete("a") is False
    assert await state.set("a", (1, 2)) is True
    assert await state.get("a") == [1, 2]
    key = "ü" * (MAX_KEY // 2)
    assert await state.set(key, 1)
    assert await state.keys("ü") == [key]


async def test_incr(state: State, other: State) -> None:
    assert await state.incr("n") == 1
    assert await other.incr("n", 41) == 42
    assert await state.incr("n", -43) == -1
    assert await state.get("n") == -1
    assert await state.incr("n", 0) == -1
    assert await state.incr("m", 0) == 0
    await state.set("n", 2**63 - 2)
    assert await state.incr("n") == 2**63 - 1
    with pytest.raises(OverflowError, match="'n' would be 9223372036854775808, which has more than 64 bits"):
        await state.incr("n")
    assert await state.get("n") == 2**63 - 1
    others: list[Any] = [None, True, 1.0, "1", b"1", [1], {}]
    for value in others:
        await state.set("n", value)
        with pytest.raises(TypeError, match="the value of 'n' is no int"):
            await state.incr("n")
        assert await state.get("n") == value


async def test_replace_compares_what_is_packed(state: State) -> None:
    assert await state.replace("a", None, 1) is False
    await state.set("a", None)
    assert await state.replace("a", None, {"x": 1, "y": 2}) is True
    assert await state.replace("a", {"y": 2, "x": 1}, 1) is False
    assert await state.replace("a", {"x": 1, "y": 2}, 1) is True
    assert await state.replace("a", 1.0, 2) is False
    assert await state.replace("a", True, 2) is False
    assert await state.replace("a", 1, b"x" * 200_000) is True
    assert await state.replace("a", b"x" * 200_000, b"y" * 200_000) is True
    assert await state.get("a") == b"y" * 200_000


async def test_time_to_live(state: State, other: State) -> None:
    await state.set("short", 1, ttl=0.2)
    await state.set("kept", 1, ttl=0.2)
    await state.set("kept", 2)
    await state.set("prolonged", 1, ttl=0.2)
    await state.set("prolonged", 1, ttl=100)
    assert await state.incr("counted", ttl=0.2) == 1
    assert await state.incr("counted", ttl=100) == 2
    await state.set("replaced", 1, ttl=0.2)
    assert await state.replace("replaced", 1, 2)
    assert await state.incr("long", ttl=100) == 1
    begun = time.monotonic()
    while await other.keys() != ["kept", "long", "prolonged"]:
        assert time.monotonic() - begun < 10
        await asyncio.sleep(0.01)
    assert time.monotonic() - begun > 0.1
    assert await state.get("short") is None
    assert await state.incr("counted") == 1
    assert await state.set("short", 1, if_absent=True)


async def test_wrong_arguments(state: State) -> None:
    wrong: Any
    for wrong in (b"a", 1, None):
        with pytest.raises(TypeError, match=r"^key must be a str"):
            await state.get(wrong)
    with pytest.raises(ValueError, match=r"^key has 1026 bytes in UTF-8; the limit is 1024: "):
        await state.set("é" * 513, 1)
    with pytest.raises(ValueError, match=r"^key has a lone surrogate"):
        await state.get("\ud800")
    with pytest.raises(TypeError, match=r"^keys must be several keys"):
        await state.get_many("abc")
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"^ttl must be a number of seconds above 0"):
            await state.set("a", 1, ttl=wrong)
        with pytest.raises(ValueError, match=r"^ttl must be"):
            await state.incr("a", ttl=wrong)
        with pytest.raises(ValueError, match=r"^ttl must be"):
            async with state.lock("a", ttl=wrong):
                pass
    with pytest.raises(TypeError, match=r"^ttl must be"):
        await state.set("a", 1, ttl=True)
    for wrong in (True, 1.0, "1"):
        with pytest.raises(TypeError, match=r"^by must be a whole number"):
            await state.incr("a", wrong)
    with pytest.raises(OverflowError, match=r"^by must be"):
        await state.incr("a", 2**64)
    with pytest.raises(SerializationError, match=r'^value\["user"\]\["tags"\]\[2\]: set$'):
        await state.set("a", {"user": {"tags": [1, 2, {3}]}})
    with pytest.raises(SerializationError, match=r"^expected\[0\]: object$"):
        await state.replace("a", [object()], 1)
    with pytest.raises(MessageTooLargeError, match=r"^value has \d+ bytes packed; the limit is") as caught:
        await state.set("a", bytes(64 * 1024 * 1024))
    assert isinstance(caught.value, ValueError)
    assert await state.keys() == []


async def test_nothing_is_lost_between_tasks_and_clients(state: State, other: State) -> None:
    async def count(of: State) -> None:
        for _ in range(20):
            await of.incr("n")

    async def append(of: State, name: str) -> None:
        for n in range(5):
            while True:
                before = await of.get("list")
                if await of.replace("list", before, [*before, f"{name}{n}"]):
                    break

    await state.set("list", [])
    clients = [state, other]
    await asyncio.gather(
        *(count(clients[n % 2]) for n in range(50)), *(append(clients[n % 2], f"{n}:") for n in range(6))
    )
    assert await state.get("n") == 1000
    assert sorted(await state.get("list")) == sorted(f"{n}:{m}" for n in range(6) for m in range(5))
    firsts = await asyncio.gather(*(clients[n % 2].set("first", n, if_absent=True) for n in range(40)))
    assert firsts.count(True) == 1
    assert await state.get("first") == firsts.index(True)


async def test_a_cancelled_operation_does_not_shift_results(state: State) -> None:
    await state.set("n", 0)
    for _ in range(50):
        tasks = [asyncio.ensure_future(state.incr("n")) for _ in range(20)]
        others = [asyncio.ensure_future(state.get("none", number)) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        kept = await asyncio.gather(*tasks[1::2])
        assert kept == sorted(set(kept))
        assert await asyncio.gather(*others) == list(range(20))


async def test_watch(state: State, other: State) -> None:
    async with state.watch("a:") as changes, other.watch() as everything:
        await other.set("b:1", 1)
        await other.set("a:1", [1])
        await state.set("a:1", [2])
        assert await state.incr("a:n") == 1
        assert await other.replace("a:n", 1, 2)
        assert not await other.replace("a:n", 1, 2)
        assert not await other.set("a:n", 1, if_absent=True)
        await state.delete("a:1")
        await state.delete("a:1")
        await state.set("a:2", 2, ttl=0.1)
        told = [await anext(changes) for _ in range(6)]
        assert [(one.key, one.value, one.deleted) for one in told] == [
            ("a:1", [1], False),
            ("a:1", [2], False),
            ("a:n", 1, False),
            ("a:n", 2, False),
            ("a:1", None, True),
            ("a:2", 2, False),
        ]
        begun = time.monotonic()
        expired = await anext(changes)
        assert (expired.key, expired.deleted) == ("a:2", True)
        assert time.monotonic() - begun < 5
        assert [(await anext(everything)).key for _ in range(8)] == ["b:1", *(one.key for one in told), "a:2"]
    await state.set("a:1", 1)  # nobody hears it


async def test_a_slow_watcher_gets_the_last_value_of_each_key(state: State, other: State) -> None:
    count = 3 * MOST
    async with state.watch("n:") as changes:
        await asyncio.gather(*(other.set(f"n:{n % 7}", n) for n in range(count)))
        await other.set("n:end", 0)
        last: dict[str, Any] = {}
        heard = 0
        async for change in changes:
            heard += 1
            last[change.key] = change.value
            if change.key == "n:end":
                break
    assert last == {**await state.get_many(f"n:{n}" for n in range(7)), "n:end": 0}
    assert heard <= count + 1


async def test_mirror(state: State, other: State) -> None:
    await other.set("flag:a", {"on": [True]})
    await other.set("other", 1)
    async with state.mirror("flag:") as flags:
        assert dict(flags) == {"flag:a": {"on": [True]}}
        flags["flag:a"]["on"].append(1)
        assert flags["flag:a"] == {"on": [True]}
        await other.set("flag:b", 2)
        await other.delete("flag:a")
        while "flag:a" in flags:
            await asyncio.sleep(0.001)
        assert dict(flags) == {"flag:b": 2}
        assert flags.get("other") is None
        assert flags.is_current
        assert len(flags) == 1
        with pytest.raises(KeyError):
            flags["flag:a"]
    assert not flags.is_current


async def test_lock(state: State, other: State) -> None:
    tokens: list[int] = []
    inside = 0

    async def work(of: State) -> None:
        nonlocal inside
        for _ in range(3):
            async with of.lock("l") as lease:
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                tokens.append(lease.token)
                assert not lease.lost.is_set()
                inside -= 1

    await asyncio.gather(*(work(of) for of in (state, other) for _ in range(5)))
    assert len(tokens) == 30
    assert tokens == sorted(set(tokens))
    async with state.lock("l", ttl=1) as lease:
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match=f"^the lock 'l' was held by others for {timeout:g} seconds"):
                async with other.lock("l", timeout=timeout):
                    pass
        async with other.lock("another"):
            pass
        waiter = asyncio.ensure_future(_token(other, "l"))
        await asyncio.sleep(1.2)  # it is renewed
        assert not waiter.done()
        assert not lease.lost.is_set()
    assert await waiter > lease.token > tokens[-1]


async def _token(state: State, name: str) -> int:
    async with state.lock(name) as lease:
        return lease.token


async def test_a_lock_that_is_not_renewed_is_lost_and_given_to_another(connect: Connect, state: State) -> None:
    unrenewed: Any = Unrenewed(connect())
    async with State._create(unrenewed).lock("l", ttl=0.2) as lease:
        token = await asyncio.wait_for(_token(state, "l"), 10)
        assert token > lease.token
        await asyncio.wait_for(lease.lost.wait(), 10)
    async with state.lock("l", timeout=0):  # what let go of it did not have it
        pass


class Unrenewed:
    """An engine whose renewals are not answered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def renew(self, name: str, owner: str, ttl: float) -> bool:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def test_a_process_that_was_stopped_sees_at_once_that_its_lock_is_lost(state: State) -> None:
    async with state.lock("l", ttl=0.1) as lease:
        time.sleep(0.2)  # noqa: ASYNC251
        assert lease.lost.is_set()


async def test_a_cancelled_lock_is_free(state: State, other: State) -> None:
    for turns in range(6):
        task = asyncio.ensure_future(_hold(state))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        async with other.lock("l", timeout=5):
            pass


async def _hold(state: State) -> None:
    async with state.lock("l"):
        await asyncio.get_running_loop().create_future()


KEYS = st.sampled_from(["a", "a:1", "a:2", "b"])
SOME_VALUES = st.sampled_from([None, True, 0, 1, 2**63 - 1, 1.0, "1", b"1", [1], {"a": 1}])
CALLS = st.one_of(
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("set"), KEYS, SOME_VALUES, st.booleans()),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("incr"), KEYS, st.sampled_from([1, -1, 2**63 - 1])),
    st.tuples(st.just("replace"), KEYS, SOME_VALUES, SOME_VALUES),
    st.tuples(st.just("get_many"), st.lists(KEYS)),
    st.tuples(st.just("keys"), st.sampled_from(["", "a", "a:", "c"])),
)


async def call(state: State, name: str, *arguments: Any) -> Any:
    """What an operation returns, or the type that it raises."""
    try:
        if name == "set":
            key, value, if_absent = arguments
            return await state.set(key, value, if_absent=if_absent)
        return await getattr(state, name)(*arguments)
    except (TypeError, OverflowError) as error:
        return type(error)


def of_model(model: Model, name: str, *arguments: Any) -> Any:
    """What it should return or raise."""
    if name == "get":
        body = model.get(0, *arguments)
        return None if body is None else unpack(body)
    if name == "set":
        key, value, if_absent = arguments
        return model.set(0, key, pack(value), None, if_absent)
    if name == "incr":
        key, by = arguments
        return model.incr(0, key, by, None)
    if name == "replace":
        key, expected, value = arguments
        return model.replace(0, key, pack(expected), pack(value))
    if name == "get_many":
        bodies = {key: model.get(0, key) for key in arguments[0]}
        return {key: unpack(body) for key, body in bodies.items() if body is not None}
    if name == "keys":
        return model.keys(0, arguments[0], None)
    return model.delete(0, *arguments)


@given(st.lists(st.tuples(st.integers(0, 2), CALLS), max_size=30))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])  # it empties the engine itself
async def test_any_operations_of_any_clients(connect: Connect, calls: list[tuple[int, tuple[Any, ...]]]) -> None:
    clients = [State._create(connect()) for _ in range(3)]
    for key in await clients[0].keys():
        await clients[0].delete(key)
    model = Model()
    for number, (name, *arguments) in calls:
        assert await call(clients[number], name, *arguments) == of_model(model, name, *arguments)
    for client in clients:
        await client._close()
