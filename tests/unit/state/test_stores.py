"""Both stores do what a model of the contract does, at any time and in any order."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocluster import ProtocolError
from aiocluster._state import protocol
from aiocluster._state.memory import MemoryStore
from aiocluster._state.sqlite import SqliteStore
from aiocluster._state.store import Store, perform, take_news
from tests.support.state import Model

KEYS = st.sampled_from(["a", "a:1", "a:2", "b", "é"])
VALUES = st.sampled_from([None, True, 0, 1, 2**63 - 1, -(2**63), 1.0, "1", b"1", [1]]).map(msgpack.packb)
TTLS = st.none() | st.sampled_from([1.0, 2.5, 10.0])
OWNERS = st.sampled_from(["x", "y"])

OPERATIONS = st.one_of(
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("set"), KEYS, VALUES, TTLS, st.booleans()),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("incr"), KEYS, st.sampled_from([1, -1, 2**63 - 1]), TTLS),
    st.tuples(st.just("replace"), KEYS, VALUES, VALUES),
    st.tuples(st.just("keys"), st.sampled_from(["", "a", "a:", "é", "zz"]), st.none() | KEYS),
    st.tuples(st.just("acquire"), KEYS, OWNERS, st.sampled_from([1.0, 3.0])),
    st.tuples(st.just("renew"), KEYS, OWNERS, st.sampled_from([1.0, 3.0])),
    st.tuples(st.just("release"), KEYS, OWNERS),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 2.0, 20.0])),
    st.tuples(st.just("expire")),
)


def check(store: Store, operations: list[tuple[Any, ...]]) -> None:
    """Performs the operations on the store and on a model. They agree, and so do those who hear of the changes."""
    store.is_watched = True
    model = Model()
    mirror: dict[str, bytes] = {}
    now = 1000.0
    for name, *arguments in operations:
        if name == "wait":
            now += arguments[0]
        elif name == "expire":
            store.expire(now)
        else:
            wanted = getattr(model, name)(now, *arguments)
            if isinstance(wanted, type):
                with pytest.raises(wanted):
                    getattr(store, name)(now, *arguments)
            else:
                assert getattr(store, name)(now, *arguments) == wanted, (name, arguments)
        for change in take_news(store).changes:
            if change.value is None:
                del mirror[change.key]
            else:
                mirror[change.key] = change.value
        end = store.next_expiry
        ends = [end for _, end in model.values.values() if now < end < float("inf")]
        ends += [end for _, _, end in model.locks.values() if end > now]
        assert not ends or (end is not None and end <= min(ends))
    store.expire(now)
    for change in take_news(store).changes:
        assert change.value is None
        del mirror[change.key]
    assert mirror == {key: value for key, (value, end) in model.values.items() if end > now}


@given(st.lists(OPERATIONS, max_size=60))
def test_memory(operations: list[tuple[Any, ...]]) -> None:
    check(MemoryStore(), operations)


@settings(max_examples=25)
@given(st.lists(OPERATIONS, max_size=60))
def test_sqlite(operations: list[tuple[Any, ...]]) -> None:
    store = SqliteStore(":memory:")
    try:
        with store.transaction():
            check(store, operations)
    finally:
        store.close()


def test_a_file_outlives_its_process(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    store = SqliteStore(path)
    with store.transaction():
        store.set(0, "a", b"1", None, False)
        store.set(0, "b", b"2", 10, False)
        assert store.acquire(0, "l", "x", 10) == 1
    with pytest.raises(ValueError), store.transaction():
        store.set(0, "a", b"2", None, False)
        raise ValueError
    store.close()
    again = SqliteStore(path)
    assert again.next_expiry == 10
    with again.transaction():
        assert again.get(1, "a") == b"1"
        assert again.acquire(1, "l", "y", 10) is None
        again.expire(10)
        assert again.keys(10, "", None) == ["a"]
        assert again.acquire(10, "l", "y", 10) == 2
    again.close()


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    path = str(tmp_path / "theirs.db")
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE entries (id INTEGER)")
    theirs.close()
    with pytest.raises(sqlite3.DatabaseError, match="another program's database"):
        SqliteStore(path)
    (tmp_path / "text").write_text("this is a text, and a long one, which is no database" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        SqliteStore(str(tmp_path / "text"))


def test_what_expires_often_takes_no_memory() -> None:
    store = MemoryStore()
    for n in range(10_000):
        store.set(n, "a", b"1", 100_000, False)
        store.acquire(n, "l", "x", 100_000)
    assert len(store._heap) < 100


def test_the_keys_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiocluster._state.memory.MAX_PAGE", 10)
    monkeypatch.setattr("aiocluster._state.sqlite.MAX_PAGE", 10)
    sqlite = SqliteStore(":memory:")
    stores: list[Store] = [MemoryStore(), sqlite]
    for store in stores:
        for n in range(35):
            store.set(0, f"k{n:02}", b"", None, False)
        store.set(0, "l", b"", None, False)
        found: list[str] = []
        after = None
        while len(page := store.keys(0, "k", after)) == 10:
            found += page
            after = page[-1]
        assert [*found, *page] == [f"k{n:02}" for n in range(35)]
    sqlite.close()


@pytest.mark.parametrize(
    "operation",
    [
        None,
        [],
        7,
        [99, "a"],
        [True, "a"],
        ["get", "a"],
        [protocol.GET],
        [protocol.GET, b"a"],
        [protocol.GET, "a", "b"],
        [protocol.SET, "a", "b", None, False],
        [protocol.SET, "a", b"b", 1, False],
        [protocol.SET, "a", b"b", float("nan"), False],
        [protocol.SET, "a", b"b", -1.0, False],
        [protocol.INCR, "a", True, None],
        [protocol.GET_MANY, ["a", 1]],
        [protocol.GET_MANY, [["a"]]],
        [protocol.ACQUIRE, "a", "x", float("inf")],
        [[1], "a"],
        [{}, "a"],
    ],
)
def test_what_is_no_operation(operation: Any) -> None:
    store = MemoryStore()
    operations = deque([[protocol.SET, "a", b"1", None, False], operation])
    with pytest.raises(ProtocolError):
        perform(store, 0, operations)
    assert store.get(0, "a") == b"1"


def test_a_frame_of_results_is_bounded() -> None:
    store = MemoryStore()
    store.set(0, "a", b"x" * 600_000, None, False)
    operations: deque[Any] = deque([[protocol.GET, "a"]] * 10)
    assert len(perform(store, 0, operations)) < 2_000_000
    assert len(operations) == 8
    operations = deque([[protocol.GET_MANY, ["a"] * 10]])
    assert len(perform(store, 0, operations)) < 2_000_000


@given(st.lists(st.text("ab", max_size=2), max_size=30), st.integers(1, 5))
def test_a_backlog_ends_with_each_keys_last_change(keys: list[str], most: int) -> None:
    from aiocluster._state import backlog
    from aiocluster._state.engine import Changed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backlog, "MOST", most)
        waiting = backlog.Backlog()
        changes = [Changed(key, str(n).encode()) for n, key in enumerate(keys)]
        for change in changes:
            waiting.put(change)
        taken = []
        while waiting:
            taken.append(waiting.take())
        assert {one.key: one for one in taken} == {one.key: one for one in changes}
        assert taken == sorted(taken, key=changes.index)
        assert len(taken) <= most + len(set(keys))
        with pytest.raises(IndexError):
            waiting.take()
