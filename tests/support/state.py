"""The contract of the state, as plainly as it can be said."""

from __future__ import annotations

from typing import Any

import msgpack


class Model:
    """Keeps packed values and locks. It is given the time; what has expired is not there when it is looked for."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[bytes, float]] = {}
        self.locks: dict[str, tuple[str, int, float]] = {}
        self.token = 0

    def get(self, now: float, key: str) -> bytes | None:
        value, end = self.values.get(key, (None, 0.0))
        return value if end > now else None

    def set(self, now: float, key: str, value: bytes, ttl: float | None, if_absent: bool) -> bool:
        if if_absent and self.get(now, key) is not None:
            return False
        self.values[key] = value, float("inf") if ttl is None else now + ttl
        return True

    def delete(self, now: float, key: str) -> bool:
        was_there = self.get(now, key) is not None
        self.values.pop(key, None)
        return was_there

    def incr(self, now: float, key: str, by: int, ttl: float | None) -> Any:
        body = self.get(now, key)
        value = 0 if body is None else msgpack.unpackb(body)
        if type(value) is not int:
            return TypeError
        if not -(2**63) <= value + by < 2**63:
            return OverflowError
        if body is None:
            self.set(now, key, msgpack.packb(by), ttl, False)
        else:
            self.values[key] = msgpack.packb(value + by), self.values[key][1]
        return value + by

    def replace(self, now: float, key: str, expected: bytes, value: bytes) -> bool:
        if self.get(now, key) != expected:
            return False
        self.values[key] = value, self.values[key][1]
        return True

    def keys(self, now: float, prefix: str, after: str | None) -> list[str]:
        found = sorted(key for key in self.values if key.startswith(prefix) and self.get(now, key) is not None)
        return [key for key in found if after is None or key > after]

    def acquire(self, now: float, name: str, owner: str, ttl: float) -> int | None:
        holder, token, end = self.locks.get(name, ("", 0, 0.0))
        if end > now and holder != owner:
            return None
        if end <= now:
            self.token += 1
            token = self.token
        self.locks[name] = owner, token, now + ttl
        return token

    def renew(self, now: float, name: str, owner: str, ttl: float) -> bool:
        holder, token, end = self.locks.get(name, ("", 0, 0.0))
        if end <= now or holder != owner:
            return False
        self.locks[name] = owner, token, now + ttl
        return True

    def release(self, now: float, name: str, owner: str) -> bool:
        holder, _, end = self.locks.get(name, ("", 0, 0.0))
        if holder == owner:
            del self.locks[name]
        return holder == owner and end > now
