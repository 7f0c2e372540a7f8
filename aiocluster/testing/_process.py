"""`ClusterProcess`: a cluster whose primary is a process of its own, for tests of what runs in it.

The test's own process has neither workers nor a loop that would have to turn: clients that block work as well.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Protocol, Unpack

import anyio.to_thread

from .. import errors
from ..address import Address
from ..errors import ClusterError
from ..settings import ClusterSettings, Target
from ..stats import SlowLoop, WorkerStats
from ._settings import as_json

_BEYOND = 30.0  # seconds, beside the cluster's own bounds, for a busy machine
_ENDS_WITHIN = 5.0  # seconds, when told to stop at once
_OUTPUT = 256 * 1024  # bytes of the output that are kept: the last ones


class ClusterProcess:
    """Runs a cluster in a process of its own, as ``with`` or ``async with``. Leaving it stops the cluster gracefully.

    Entering returns when its first workers listen, or are online and don't listen within a second. An ASGI app that is
    named as ``"module:app"`` is served on a free port of 127.0.0.1.

    Args:
        target: What workers run; see `Settings`. A function must be one of a module.
        **settings: See `Settings`. Functions other than targets can't be given.

    Raises:
        StartupError: Entering: the workers can't start. The text says why.
        ClusterError: Entering: the cluster can't be made, likewise; leaving: it had ended by itself, having failed.
        TypeError: A setting can't be sent to another process.
    """

    def __init__(self, target: Target = None, **settings: Unpack[ClusterSettings]) -> None:
        self._target = as_json("target", target)
        self._settings = as_json("settings", {name: _named(name, value) for name, value in settings.items()})
        graceful = float(settings.get("graceful_timeout", 30.0)) + float(settings.get("drain_delay", 0.0))
        self._stops_within = graceful + _BEYOND
        self._starts_within = float(settings.get("start_timeout", 30.0)) + _BEYOND
        self._primary: _Primary | None = None
        self._last_output = ""

    @property
    def output(self) -> str:
        """What the primary and its workers have written to stdout and stderr so far: the last 256 KiB."""
        return self._last_output if self._primary is None else self._primary.output()

    def __enter__(self) -> RunningClusterSync:
        self._start()
        return RunningClusterSync(self)

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> RunningCluster:
        try:
            await anyio.to_thread.run_sync(self._start)
        except BaseException:
            self.kill()
            raise
        return RunningCluster(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close)

    def close(self) -> None:
        """Stops the cluster gracefully, and kills it if that takes too long. Idempotent.

        Raises:
            ClusterError: It had ended by itself, having failed.
        """
        primary = self._primary
        if primary is None:
            return
        try:
            primary.stop(graceful=True)
            primary.wait(self._stops_within)
        finally:
            self.kill()
        if primary.failure is not None:
            raise primary.failure

    def kill(self) -> None:
        """Ends the cluster at once. Idempotent."""
        primary, self._primary = self._primary, None
        if primary is not None:
            self._last_output = primary.end()

    def _start(self) -> None:
        if self._primary is not None:
            raise ClusterError("this cluster runs already: make another one")
        self._primary = primary = _Primary()
        try:
            primary.start(self._target, self._settings, self._starts_within)
        except BaseException:
            self.kill()
            raise

    def _running(self) -> _Primary:
        if self._primary is None:
            raise ClusterError("this cluster does not run any more")
        return self._primary


class _Running:
    """What a test knows of a running cluster."""

    def __init__(self, process: ClusterProcess) -> None:
        self._process = process

    @property
    def url(self) -> str:
        """Where it listens: ``http://127.0.0.1:54321``, without a slash at the end. ``https`` if it has a certificate.

        Raises:
            ClusterError: It listens on no TCP port.
        """
        scheme = self._process._running().scheme
        for address in self.addresses:
            if address.host is not None and address.family in ("tcp4", "tcp6"):
                host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
                return f"{scheme}://[{host}]:{address.port}" if ":" in host else f"{scheme}://{host}:{address.port}"
        raise ClusterError("the cluster listens on no TCP port, so it has no URL")

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where its first workers listen."""
        return self._process._running().addresses

    @property
    def pid(self) -> int:
        """The primary's process id."""
        return self._process._running().pid

    @property
    def workers(self) -> tuple[WorkerStats, ...]:
        """Its workers and agents just now."""
        found = self._process._running().ask("workers").result(_BEYOND)["workers"]
        return tuple(_stats(worker) for worker in found)

    @property
    def output(self) -> str:
        """What the primary and its workers have written to stdout and stderr so far: the last 256 KiB."""
        return self._process.output


class RunningCluster(_Running):
    """A cluster that runs, in an async test."""

    async def reload(self) -> None:
        """Replaces all workers without losing a connection; see `Cluster.reload`.

        Raises:
            ReloadError: A new worker failed to start.
        """
        future = self._process._running().ask("reload")
        await anyio.to_thread.run_sync(future.result, abandon_on_cancel=True)

    async def stop(self) -> None:
        """Stops it gracefully, and returns when it has ended."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._process.close)


class RunningClusterSync(_Running):
    """A cluster that runs, in a test that is not async."""

    def reload(self) -> None:
        """Replaces all workers without losing a connection; see `Cluster.reload`.

        Raises:
            ReloadError: A new worker failed to start.
        """
        self._process._running().ask("reload").result()

    def stop(self) -> None:
        """Stops it gracefully, and returns when it has ended."""
        self._process.close()


class StartCluster(Protocol):
    """The type of the fixture ``cluster``."""

    def __call__(self, target: Target = None, **settings: Unpack[ClusterSettings]) -> ClusterProcess: ...


class _Primary:
    """The primary's process, and the socket by which it is told what to do."""

    def __init__(self) -> None:
        self.addresses: tuple[Address, ...] = ()
        self.scheme: str = "http"
        self.failure: ClusterError | None = None
        self._output = tempfile.TemporaryFile(prefix="aiocluster-")
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, Future[dict[str, Any]]] = {}
        self._up: Future[None] = Future()
        self._lock = threading.Lock()  # of what follows, and of writing
        self._over: ClusterError | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, target: Any, settings: Any, seconds: float) -> None:
        """Starts it, and returns when its workers are up.

        Raises:
            ClusterError: They can't be, or are not within so many seconds.
        """
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}._primary", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=[theirs.fileno()],
                env=_environment(),
                start_new_session=True,  # Ctrl-C ends the test, which then stops it
            )
        self._reader = threading.Thread(target=self._read, name="aiocluster-test-cluster", daemon=True)
        self._reader.start()
        options = {} if not isinstance(target, dict) else target.get("fields", {}).get("uvicorn", {}).get("items", [])
        scheme = "https" if any(name == "ssl_certfile" for name, _ in options) else "http"
        self._write(
            {
                "path": [os.path.abspath(one) for one in sys.path],
                "target": target,
                "settings": settings,
                "scheme": scheme,
            }
        )
        try:
            self._up.result(seconds)
        except TimeoutError:
            raise ClusterError(f"the cluster is not up after {seconds:g} s") from None

    def ask(self, what: str) -> Future[dict[str, Any]]:
        """Has it do something."""
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            if self._over is not None:
                future.set_exception(self._over)
                return future
            number = next(self._numbers)
            self._asked[number] = future
        self._write({"do": what, "number": number})
        return future

    def stop(self, *, graceful: bool) -> None:
        """Begins to stop it."""
        self._write({"do": "stop", "graceful": graceful})

    def wait(self, seconds: float) -> None:
        """Returns when it has ended, or after so many seconds."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.failure = ClusterError(f"the cluster did not stop within {seconds:g} s")

    def end(self) -> str:
        """Ends it if it still runs, and closes all. Its workers end with it. Returns its output.

        It stops at once when its socket is closed, and leaves no files behind. If it doesn't, it is killed.
        """
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._process is not None:
            try:
                self._process.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._process.wait()
        if self._socket is not None:
            if self._reader is not None:
                self._reader.join()
            self._socket.close()
        output = self.output()
        self._output.close()
        return output

    def output(self) -> str:
        """What it and its workers have written so far: the end of that."""
        fd = self._output.fileno()
        size = os.fstat(fd).st_size
        return os.pread(fd, _OUTPUT, max(0, size - _OUTPUT)).decode(errors="replace")

    def _write(self, order: dict[str, Any]) -> None:
        assert self._socket is not None
        try:
            with self._lock:
                self._socket.sendall(json.dumps(order).encode() + b"\n")
        except OSError:
            pass  # it has ended, which the reader will find, too

    def _read(self) -> None:
        assert self._socket is not None
        with self._socket.makefile("rb") as lines:
            try:
                for line in lines:
                    self._heard(json.loads(line))
            except OSError:
                pass
        self._end(ClusterError("the cluster's primary has been killed, or has failed: its output says more"))

    def _heard(self, told: dict[str, Any]) -> None:
        match told.get("event"):
            case "up":
                self.addresses = tuple(Address(**address) for address in told["addresses"])
                self.scheme = told["scheme"]
                self._up.set_result(None)
            case "over":
                error = _error(told["kind"], told["text"])
                if told["kind"] is not None:
                    self.failure = error
                self._end(error)
            case _:
                future = self._asked.pop(told["number"])
                if "error" in told:
                    future.set_exception(_error(told["kind"], told["error"]))
                else:
                    future.set_result(told)

    def _end(self, error: ClusterError) -> None:
        with self._lock:
            if self._over is not None:
                return
            self._over = error
            asked, self._asked = self._asked, {}
        futures: list[Future[Any]] = [self._up, *asked.values()]
        for future in futures:
            if not future.done():
                future.set_exception(error)


def _named(name: str, value: Any) -> Any:
    """Checks a setting's value, so that an error names it."""
    as_json(name, value)
    return value


def _environment() -> dict[str, str]:
    """This process's own, without what makes it a worker, and with the place where this package is imported from."""
    from .._processes.environment import OWN

    return {name: value for name, value in os.environ.items() if name not in OWN}


def _error(kind: str | None, text: str) -> ClusterError:
    found = getattr(errors, kind or "", None)
    if kind in ("TypeError", "ValueError"):
        return ClusterError(f"{kind}: {text}")
    try:
        return found(text) if isinstance(found, type) and issubclass(found, ClusterError) else ClusterError(text)
    except TypeError:  # one with more arguments
        return ClusterError(text)


def _stats(told: Mapping[str, Any]) -> WorkerStats:
    last = told["last_slow"]
    return WorkerStats(**{**told, "last_slow": None if last is None else SlowLoop(**last)})
