"""Commands to a Redis Cluster, by redis-py's client of it, which knows which node has a key."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import redis.exceptions as theirs
from redis.asyncio import RedisCluster

from .connect import cluster, timeout_of
from .failure import LostError, closed, failure, lost
from .line import Argument, Reply
from .url import RedisUrl


class ClusterLine:
    """What a `Line` is for one server. The commands of one turn of the loop are one write to each node.

    Args:
        url: Where its nodes are.
    """

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._timeout = timeout_of(url)
        self._client: RedisCluster | None = None
        self._waiting: list[tuple[tuple[Argument, ...], Reply]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def call(self, *command: Argument) -> Reply:
        """See `Line.call`."""
        loop = asyncio.get_running_loop()
        reply: Reply = loop.create_future()
        if self._is_closed:
            reply.set_exception(closed(self._url))
            return reply
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append((command, reply))
        return reply

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        task = asyncio.create_task(self._execute([one for one in waiting if not one[1].done()]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _execute(self, commands: list[tuple[tuple[Argument, ...], Reply]]) -> None:
        answers: list[Any] = []
        was_sent = False
        why: str | None = None
        try:
            async with asyncio.timeout(2 * self._timeout):
                client = await self._known()
                pipeline = client.pipeline()
                for (name, *arguments), _ in commands:
                    _ = pipeline.execute_command(name.decode() if isinstance(name, bytes) else name, *arguments)
                was_sent = True
                answers = await pipeline.execute(raise_on_error=False)
        except (theirs.RedisError, theirs.RedisClusterException, OSError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
        finally:
            for index, (_, reply) in enumerate(commands):
                if reply.done():
                    continue
                if index >= len(answers):
                    reply.set_exception(
                        closed(self._url, was_sent=was_sent) if why is None else lost(self._url, why, was_sent=was_sent)
                    )
                elif isinstance(answer := answers[index], Exception):
                    failed = failure(self._url, answer)
                    is_lost = isinstance(failed, LostError)
                    reply.set_exception(lost(self._url, str(answer), was_sent=True) if is_lost else failed)
                else:
                    reply.set_result(answer)

    async def _known(self) -> RedisCluster:
        """The client, which asks the nodes what the cluster is like when it is first used, and after a failure."""
        if self._client is None:
            self._client = cluster(self._url)
        return await self._client.initialize()

    async def scan(self, pattern: bytes) -> list[bytes]:
        """See `Line.scan`."""
        try:
            client = await self._known()
            names = [name async for name in client.scan_iter(match=pattern, count=1000)]
        except (theirs.RedisError, theirs.RedisClusterException, OSError) as error:
            raise failure(self._url, error) from None
        return list(dict.fromkeys(names))

    def abandon(self) -> None:
        """See `Line.abandon`. What redis-py's client of the cluster has open stays so until the child ends."""

    async def close(self) -> None:
        """See `Line.close`."""
        self._is_closed = True
        for task in (tasks := list(self._tasks)):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if (client := self._client) is not None:
            self._client = None
            with suppress(theirs.RedisError, OSError):
                await client.aclose()
