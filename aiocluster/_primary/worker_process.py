"""`WorkerProcess`: the public object for a worker in the primary. Its `Session` holds the state and does the work."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

from anyio.abc import ByteReceiveStream

from .._events.emitter import WorkerProcessEvent
from .._no_constructor import NoConstructor
from .._wire.peer import Peer
from ..events import Exit, Reason

if TYPE_CHECKING:
    from .session import Session


class WorkerProcess(Peer[WorkerProcessEvent], metaclass=NoConstructor, made_by="Primary.fork()"):
    """A worker, seen from the primary. `Primary.fork` returns it. It emits the events of this worker only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._hub = session.hub
        self._conversation = session.conversation
        self._happened = session.happened

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.id}, pid {self.pid}, {self.state}>"

    # ---- identity

    @property
    def id(self) -> int:
        """Its number in this primary, from 1 on; never reused."""
        return self._session.identity.id

    @property
    def slot(self) -> int | None:
        """Its place among the workers; None for an agent.

        The n workers of a `Cluster` have the slots 0 to n-1. A replacement inherits the slot, after a crash, at a
        reload or for a limit. It may share it for a while with the old worker, which finishes its work. Scaling down
        takes the highest slots. Under a `Primary` alone, each new worker gets the lowest number that no worker
        has that still works.
        """
        return self._session.identity.slot

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._session.pid

    @property
    def name(self) -> str | None:
        """The agent's name; None for other workers."""
        return self._session.identity.name

    @property
    def env(self) -> Mapping[str, str]:
        """The argument ``env`` of `Primary.fork`."""
        return self._session.identity.env

    @property
    def weight(self) -> int:
        """Its relative share of connections under weighted scheduling."""
        return self._session.identity.weight

    # ---- status

    @property
    def state(self) -> str:
        """``starting``, ``online``, ``listening``, ``failed``, ``disconnecting``, ``disconnected`` or ``dead``."""
        return self._session.life.state

    def is_connected(self) -> bool:
        """Whether its channel is open."""
        return not self._session.channel.is_closed

    def is_dead(self) -> bool:
        """Whether its process has ended."""
        return self._session.exit.done()

    @property
    def exited_after_disconnect(self) -> bool | None:
        """Whether it left because it was told to or chose to; None until it has exited."""
        return self._session.life.is_leaving if self._session.exit.done() else None

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs, or if a signal ended it."""
        return self._session.exit.result().code if self._session.exit.done() else None

    @property
    def exit_signal(self) -> signal.Signals | None:
        """The signal that ended it; None while it runs, or if no signal ended it."""
        return self._session.exit.result().signal if self._session.exit.done() else None

    @property
    def exit_reason(self) -> Reason | None:
        """Why it ended; None while it runs."""
        return self._session.exit.result().reason if self._session.exit.done() else None

    @property
    def connections(self) -> int:
        """How many connections from shared ports it has open."""
        return self._session.backend.open

    @property
    def stdout(self) -> ByteReceiveStream | None:
        """Its stdout as an anyio byte stream if it is silent; else None."""
        return self._session.stdout

    @property
    def stderr(self) -> ByteReceiveStream | None:
        """Its stderr as an anyio byte stream if it is silent; else None."""
        return self._session.stderr

    @property
    def stderr_tail(self) -> bytes:
        """The last 8 KiB that it has written to stderr, also after its end. Reading it takes nothing from `stderr`."""
        return self._session.child.stderr_tail()

    # ---- ending it

    def kill(self, signal: signal.Signals | int = signal.SIGTERM) -> None:
        """Sends the process a signal. Does nothing if it has ended. An end by `kill` counts as unexpected."""
        self._session.kill(signal)

    async def disconnect(self, *, timeout: float | None = None) -> None:
        """Tells it to leave, and returns when it is gone. Such an exit is voluntary.

        It stops taking connections at once; open ones may finish, and so may the requests and calls that it is serving.
        Then the application's own shutdown runs. A worker without a running event loop can't be told, so it is sent
        SIGTERM, which ends what its main thread does as ``sys.exit()`` does.

        Args:
            timeout: Seconds before it ends its main task, finished or not; None: the setting ``graceful_timeout``. A
                worker that is still there one second later gets SIGTERM, and two seconds after that SIGKILL, even if
                the caller has been cancelled. A worker that is leaving already keeps the shorter time.
        """
        seconds = self._session.shared.settings.graceful_timeout if timeout is None else timeout
        self._session.tell_to_leave(seconds)
        await self._session.wait_gone()

    async def wait(self) -> Exit:
        """Waits until the process has ended, and returns how."""
        return await asyncio.shield(self._session.exit)

    async def wait_gone(self) -> None:
        """Returns when it has both disconnected and exited."""
        await self._session.wait_gone()
