"""The state in a SQLite file, by the standard library's module. It is used in one thread, which calls `transaction`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgpack

from .engine import Changed
from .store import MAX_PAGE, News, added

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, ends REAL);
    CREATE INDEX IF NOT EXISTS entries_by_end ON entries (ends) WHERE ends IS NOT NULL;
    CREATE TABLE IF NOT EXISTS locks (name TEXT PRIMARY KEY, owner TEXT NOT NULL, token INTEGER NOT NULL, ends REAL);
    CREATE TABLE IF NOT EXISTS tokens (last INTEGER NOT NULL);
    INSERT INTO tokens SELECT 0 WHERE NOT EXISTS (SELECT * FROM tokens);
"""
_APPLICATION_ID = 0x61696F63  # "aioc": no other program's file is taken for ours (sqlite.org/pragma.html)
_LOOK_AGAIN = 1.0  # seconds after a transaction has failed
_WAIT = 5.0  # seconds that another process may have the file locked


class SqliteStore:
    """Keeps all in a file. Times are those of the system's clock, because the file outlives this process.

    Args:
        path: The file, which is made if it is not there. Its folder must be there.
        synchronous: ``"normal"``: what was answered survives the end of any process. ``"full"``: a power cut, too.

    Attributes:
        news: What has happened since it was last taken from there.
        is_watched: Whether changes are to be in the news.

    Raises:
        sqlite3.Error: The file can't be opened, or is none of ours.
    """

    def __init__(self, path: str, synchronous: str = "normal") -> None:
        self.news: News = News()
        self.is_watched: bool = False
        self._next_end: float | None = None
        # The thread that opens it is not the one that uses it later; never are there two.
        self._database = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            self._begin(synchronous)
        except BaseException:
            self._database.close()
            raise

    def _begin(self, synchronous: str) -> None:
        run = self._database.execute
        (owner,) = run("PRAGMA application_id").fetchone()
        (tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
        if owner != _APPLICATION_ID and tables:
            raise sqlite3.DatabaseError("it is another program's database")
        run("PRAGMA journal_mode = wal").fetchone()
        run(f"PRAGMA synchronous = {synchronous}")
        with self.transaction():
            run(f"PRAGMA application_id = {_APPLICATION_ID}")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                run(statement)
            self._next_end = self._first_end()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done within is done all, or, if it raises, not at all."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            self.news = News()
            self._next_end = time.time() + _LOOK_AGAIN  # what has expired may not have been removed
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    # ---- keys

    def get(self, now: float, key: str) -> bytes | None:
        found = self._database.execute("SELECT value, ends FROM entries WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        value: bytes = found[0]
        if found[1] is not None and found[1] <= now:
            self._remove(key)
            return None
        return value

    def set(self, now: float, key: str, value: bytes, ttl: float | None, if_absent: bool) -> bool:
        if if_absent and self.get(now, key) is not None:
            return False
        end = None if ttl is None else self._expiring(now + ttl)
        self._database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (key, value, end))
        self._changed(key, value)
        return True

    def delete(self, now: float, key: str) -> bool:
        if self.get(now, key) is None:
            return False
        self._remove(key)
        return True

    def incr(self, now: float, key: str, by: int, ttl: float | None) -> int:
        body = self.get(now, key)
        total = added(body, by, key)
        if body is None:
            self.set(now, key, msgpack.packb(total), ttl, False)
        else:
            self._update(key, msgpack.packb(total))
        return total

    def replace(self, now: float, key: str, expected: bytes, value: bytes) -> bool:
        if self.get(now, key) != expected:
            return False
        self._update(key, value)
        return True

    def keys(self, now: float, prefix: str, after: str | None) -> list[str]:
        self.expire(now)
        query = "SELECT key FROM entries WHERE key >= ? AND key > ? ORDER BY key LIMIT ?"
        begin = "" if after is None else after
        if after is None:
            query = query.replace("key > ?", "key >= ?")
        found = []
        for (key,) in self._database.execute(query, (prefix, begin, MAX_PAGE)):
            if not key.startswith(prefix):
                break
            found.append(key)
        return found

    def _update(self, key: str, value: bytes) -> None:
        self._database.execute("UPDATE entries SET value = ? WHERE key = ?", (value, key))
        self._changed(key, value)

    def _remove(self, key: str) -> None:
        self._database.execute("DELETE FROM entries WHERE key = ?", (key,))
        self._changed(key, None)

    def _changed(self, key: str, value: bytes | None) -> None:
        if self.is_watched:
            self.news.changes.append(Changed(key, value))

    # ---- locks

    def acquire(self, now: float, name: str, owner: str, ttl: float) -> int | None:
        held = self._held(name)
        if held is not None and held[2] > now:
            if held[0] != owner:
                return None
            token = held[1]  # it has asked before
        else:
            self._database.execute("UPDATE tokens SET last = last + 1")
            (token,) = self._database.execute("SELECT last FROM tokens").fetchone()
        end = self._expiring(now + ttl)
        self._database.execute("INSERT OR REPLACE INTO locks VALUES (?, ?, ?, ?)", (name, owner, token, end))
        return token

    def renew(self, now: float, name: str, owner: str, ttl: float) -> bool:
        held = self._held(name)
        if held is None or held[0] != owner or held[2] <= now:
            return False
        self._database.execute("UPDATE locks SET ends = ? WHERE name = ?", (self._expiring(now + ttl), name))
        return True

    def release(self, now: float, name: str, owner: str) -> bool:
        held = self._held(name)
        if held is None or held[0] != owner:
            return False
        self._free(name)
        return held[2] > now

    def _held(self, name: str) -> tuple[str, int, float] | None:
        query = "SELECT owner, token, ends FROM locks WHERE name = ?"
        held: tuple[str, int, float] | None = self._database.execute(query, (name,)).fetchone()
        return held

    def _free(self, name: str) -> None:
        self._database.execute("DELETE FROM locks WHERE name = ?", (name,))
        self.news.freed.append(name)

    # ---- expiry

    @property
    def next_expiry(self) -> float | None:
        return self._next_end

    def expire(self, now: float) -> None:
        if self._next_end is None or self._next_end > now:
            return
        for (key,) in self._database.execute("SELECT key FROM entries WHERE ends <= ?", (now,)).fetchall():
            self._remove(key)
        for (name,) in self._database.execute("SELECT name FROM locks WHERE ends <= ?", (now,)).fetchall():
            self._free(name)
        self._next_end = self._first_end()

    def _expiring(self, end: float) -> float:
        if self._next_end is None or end < self._next_end:
            self._next_end = end
        return end

    def _first_end(self) -> float | None:
        run = self._database.execute
        ends = [*run("SELECT min(ends) FROM entries").fetchone(), *run("SELECT min(ends) FROM locks").fetchone()]
        return min((float(end) for end in ends if end is not None), default=None)
