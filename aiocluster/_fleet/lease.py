"""Which of a fleet's clusters runs an agent: the one that has its lease in Redis.

A lease is a key that expires (``SET … PX``), as Redis documents for locks, with a fencing token that grows with each
owner. A cluster counts its lease from before it has asked for it, and as shorter than Redis does, so it has ended
before Redis gives the lease to another one.

A Redis that has been restarted, emptied or replaced may have forgotten who has a lease. It is known by its ``run_id``:
what is new gives no lease to anybody but its owner before one lease has passed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .._primary.term import Term
from .._processes.clock import now
from ..errors import BackplaneError, StoppingError
from .names import Names

if TYPE_CHECKING:
    from .._redis.line import Commands

logger = logging.getLogger("aiocluster.fleet")

_OF_OWN = 0.9
"""The part of a lease that its owner counts on. In the rest its process ends, even where clocks don't run alike."""

_TRIES = 3
"""How many times in a lease it is renewed, or asked for."""

_HOLD = """
local run = ''
local info = redis.pcall('INFO', 'server')
if type(info) == 'string' then run = string.match(info, 'run_id:(%w+)') or '' end
local owner, ttl, held = ARGV[1], ARGV[2], tonumber(ARGV[3])
local holder = redis.call('GET', KEYS[1])
local last = tonumber(redis.call('HGET', KEYS[2], 'token') or '0')
if redis.call('HGET', KEYS[2], 'run') ~= run then
  redis.call('HSET', KEYS[2], 'run', run)
  holder = holder or ''
  redis.call('SET', KEYS[1], holder, 'PX', ttl)
end
if held > 0 then
  if held < last or (holder and holder ~= owner and holder ~= '') then return {0, redis.call('PTTL', KEYS[1])} end
elseif not holder or holder == owner then
  local time = redis.call('TIME')
  held = math.max(last + 1, time[1] * 1000 + math.floor(time[2] / 1000))
else
  return {0, redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], owner, 'PX', ttl)
redis.call('HSET', KEYS[2], 'token', string.format('%.0f', held))
return {held, ttl}
"""
"""Takes or renews a lease. Returns its fencing token, or 0 and for how many more milliseconds it is another's.

The keys are the lease and what is remembered of it; the arguments the owner, the lease in milliseconds, and the token
of a lease that the owner still has, or 0. Tokens are at least the time in milliseconds, so that they grow although a
Redis has lost the last one.
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class SharedDeadline:
    """A time that the agent's process reads, whatever its event loop does: two floats in shared memory."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.fd: int = os.memfd_create("aiocluster-lease")
        else:
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())

    def set(self, until: float) -> None:
        """Sets it. It is written twice, so that a reader notices if it reads in between."""
        os.pwrite(self.fd, struct.pack("=dd", until, until), 0)

    def close(self) -> None:
        """Closes this process's descriptor."""
        os.close(self.fd)


class Lease:
    """One agent's lease.

    Args:
        agent: Its name.
        owner: This cluster.
        seconds: How long a lease is.
        names: What the fleet calls its keys.
        line: Leads to Redis.
        changed: Called when the lease has been taken or lost.

    Attributes:
        token: The fencing token; 0 before the first lease.
        until: When it ends, on the fleet's clock.
        deadline: The same for the agent's process; None without a lease.
    """

    def __init__(
        self, agent: str, owner: str, seconds: float, names: Names, line: Commands, changed: Callable[[], None]
    ) -> None:
        self.agent = agent
        self.token: int = 0
        self.until: float = 0.0
        self.deadline: SharedDeadline | None = None
        self._owner = owner
        self._seconds = seconds
        self._keys = tuple(names.lease(agent))
        self._line = line
        self._changed = changed
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def is_held(self) -> bool:
        """Whether this cluster has the lease now."""
        return self.deadline is not None and now() < self.until

    def term(self) -> Term:
        """What the agent's process needs to know.

        Raises:
            StoppingError: This cluster does not have the lease.
        """
        if self.deadline is None or not self.is_held:
            raise StoppingError(f"the agent {self.agent} must not be started: this cluster has not its lease")
        return Term(self.token, self.deadline.fd)

    def begin(self) -> None:
        """Asks for the lease, and renews it, until `end`."""
        self._task = asyncio.get_running_loop().create_task(self._hold())

    def hurry(self) -> None:
        """Asks at once: another cluster may have given the lease back."""
        self._hurry.set()

    async def end(self) -> None:
        """Gives the lease back. The agent must have ended."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        had_it = self.is_held
        self._lose()
        if had_it:
            with suppress(BackplaneError, TimeoutError):
                async with asyncio.timeout(self._seconds / _TRIES):
                    await self._line.call("EVAL", _RELEASE, 1, self._keys[0], self._owner)

    async def _hold(self) -> None:
        while True:
            seconds = await self._ask()
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._hurry.wait()

    async def _ask(self) -> float:
        """Takes or renews the lease. Returns the seconds until it is to be done again."""
        rest = self._seconds / _TRIES
        asked = now()
        held = self.token if self.is_held else 0
        if not held:
            self._lose()
        try:
            async with asyncio.timeout(rest):
                reply = await self._line.call(
                    "EVAL", _HOLD, 2, *self._keys, self._owner, int(self._seconds * 1000), held
                )
        except (BackplaneError, TimeoutError) as error:
            logger.debug("the lease of the agent %s: %s", self.agent, error)
            return min(rest, 0.1 + rest * random.random() / 2)
        token, left = map(int, reply)
        if token == 0:
            if held:
                logger.warning("the agent %s: another cluster of the fleet has its lease", self.agent)
            self._lose()
            return min(rest, max(0.0, left / 1000) + 0.001 + 0.02 * random.random())
        self._has(token, asked + self._seconds * _OF_OWN)
        return rest

    def _has(self, token: int, until: float) -> None:
        is_new = self.deadline is None
        if self.deadline is None:
            self.deadline = SharedDeadline()
        self.token, self.until = token, until
        self.deadline.set(until)
        self._set_alarm()
        if is_new:
            logger.info("the agent %s: this cluster has its lease, with the token %d", self.agent, token)
            self._changed()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(max(0.0, self.until - now()), self._look)

    def _look(self) -> None:
        if self.deadline is not None:
            if self.is_held:
                self._set_alarm()
            else:
                logger.warning("the agent %s: its lease has passed without being renewed", self.agent)
                self._lose()

    def _lose(self) -> None:
        deadline, self.deadline = self.deadline, None
        self.until = 0.0
        if self._alarm is not None:
            self._alarm.cancel()
        if deadline is not None:
            deadline.set(0.0)
            deadline.close()
            self._changed()
