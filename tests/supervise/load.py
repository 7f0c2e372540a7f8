"""Clients that ask without a pause, and tell of every request that was not answered."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiocluster.events import Address
from tests.support.serving import ask


class Load:
    """So many clients at a time, each request on a connection of its own, for as long as the block lasts.

    Attributes:
        answers: How many requests each pid has answered.
        errors: What went wrong, of any kind: refused, reset, ended early, another status than 200.
    """

    def __init__(self, address: Address, clients: int = 16, target: str = "/") -> None:
        self.answers: Counter[int] = Counter()
        self.errors: list[str] = []
        self._address = address
        self._clients = clients
        self._target = target
        self._is_over = False
        self._tasks: list[asyncio.Task[None]] = []
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def total(self) -> int:
        """How many requests have come to their end."""
        return self.answers.total() + len(self.errors)

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._ask_and_ask_again()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """What has been asked is still answered."""
        self.over()
        await asyncio.gather(*self._tasks)

    def over(self) -> None:
        """Asks no more."""
        self._is_over = True

    async def goes_on(self, requests: int = 100) -> None:
        """Returns when so many more requests have come to their end."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((self.total + requests, waiter))
        await waiter

    async def _ask_and_ask_again(self) -> None:
        while not self._is_over:
            try:
                self.answers[await ask(self._address, self._target)] += 1
            except (OSError, EOFError, AssertionError) as error:
                self.errors.append(repr(error))
            for goal, waiter in self._waiters:
                if self.total >= goal and not waiter.done():
                    waiter.set_result(None)
