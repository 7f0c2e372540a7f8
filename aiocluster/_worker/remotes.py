"""Processes of other clusters of the fleet: who they are, and a conversation with those that are spoken to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._wire.channel import Channel
from .._wire.conversation import Conversation
from .._wire.frames import Remote
from .._wire.mailbox import Mailbox
from ..errors import HandleError


class RemoteConversation(Conversation):
    """A conversation with a process of another cluster."""

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        """Sends a message; see `Worker.send_to`. Sockets can't go along."""
        if handles:
            raise HandleError(f"sockets can't be sent to {self._label}: only within a cluster")
        await super().send(message)


class Remotes:
    """The processes of other clusters, by number and by address (``"host/pid"``).

    There may be many, and most are never spoken to: a conversation is made with the first frame.

    Args:
        channel: Leads to the primary.
        mailbox: Receives messages and requests.
        opened: Called with a number, an address and the conversation that has been made.
    """

    def __init__(self, channel: Channel, mailbox: Mailbox, opened: Callable[[int, str, Conversation], None]) -> None:
        self._channel = channel
        self._mailbox = mailbox
        self._opened = opened
        self._by_number: dict[int, Remote] = {}
        self._by_address: dict[str, int] = {}
        self._hosts: dict[str, dict[int, Remote]] = {}

    def add(self, remote: Remote) -> None:
        """A process is there."""
        self._by_number[remote.number] = remote
        self._by_address[address(remote)] = remote.number
        self._hosts.setdefault(remote.host, {})[remote.number] = remote

    def remove(self, number: int) -> str | None:
        """A process has gone. Returns its address; None: it is unknown."""
        remote = self._by_number.pop(number, None)
        if remote is None:
            return None
        if self._by_address.get(address(remote)) == number:  # else its heir has it
            del self._by_address[address(remote)]
        del self._hosts[remote.host][number]
        if not self._hosts[remote.host]:
            del self._hosts[remote.host]
        return address(remote)

    @property
    def members(self) -> dict[str, tuple[int, ...]]:
        """The pids of each cluster's workers, by host."""
        return {host: tuple(one.pid for one in of.values() if one.is_worker) for host, of in self._hosts.items()}

    @property
    def workers(self) -> list[int]:
        """The numbers of all workers."""
        return [number for number, remote in self._by_number.items() if remote.is_worker]

    def find(self, to: int | str) -> Conversation | None:
        """A conversation with the process of that number or address; None: there is no such process."""
        number = self._by_address.get(to) if isinstance(to, str) else to
        remote = None if number is None else self._by_number.get(number)
        if remote is None:
            return None
        where = address(remote)
        peer = RemoteConversation(self._channel, remote.number, where, f"the worker {where}", self._mailbox)
        self._opened(remote.number, where, peer)
        return peer


def address(remote: Remote) -> str:
    """What users call it: ``"host/pid"``."""
    return f"{remote.host}/{remote.pid}"
