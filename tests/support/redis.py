"""A real redis-server, in a folder of its own, with a Unix socket and a port on the loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

PROGRAM = shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/bin")
_TRIES = 20  # ports


class RedisServer:
    """One server. It keeps what it is told in an append-only file, so that no kill loses what was answered.

    Args:
        folder: Where its files are.
        options: More options of its command line, such as ``"--requirepass", "secret"``.
        is_node: Whether it is a node of a Redis Cluster.

    Attributes:
        socket: The path of its Unix socket.
        port: Its port on 127.0.0.1.
        bus: The port by which the nodes of a cluster speak with each other.
    """

    def __init__(self, folder: Path, *options: str, is_node: bool = False) -> None:
        self.folder = folder
        self.socket: Path = folder / "s"
        self.port: int = 0
        self.bus: int = 0
        self._options = options
        self._is_node = is_node
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers. It has the port that it had before."""
        assert PROGRAM is not None
        for _ in range(_TRIES):
            port = self.port or _free_port()
            command = [PROGRAM, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)]
            command += ["--dir", str(self.folder), "--logfile", "log", "--save", "", "--appendonly", "yes"]
            if self._is_node:
                self.bus = self.bus or _free_port()
                command += ["--cluster-enabled", "yes", "--cluster-port", str(self.bus)]
            process = subprocess.Popen([*command, *self._options], stdin=subprocess.DEVNULL)
            if self._answers(process):
                self._process, self.port = process, port
                return
        raise AssertionError((self.folder / "log").read_text())

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Waits until it does; False if it has ended, because the port was taken meanwhile."""
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.connect(os.fspath(self.socket))
                client.sendall(b"INFO persistence\r\n")
                answer = client.recv(4096)
                if b"\nloading:0" in answer or answer.startswith(b"-NOAUTH"):
                    return True
            time.sleep(0.005)  # the test's own timeout bounds it
        return False

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends it. Returns when it has ended."""
        if (process := self._process) is not None:
            process.send_signal(number)
            process.wait()
            self._process = None

    def empty(self) -> None:
        """Deletes its data, while it does not run."""
        assert self._process is None
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)

    def restart(self) -> None:
        """Ends it as an update of its package would, and starts it again with what it had."""
        self.kill(signal.SIGTERM)
        self.start()

    def ask(self, *command: Any, **options: Any) -> Any:
        """Asks it something, by a connection of its own; ``options`` are of redis-py's client."""
        with redis.Redis(unix_socket_path=os.fspath(self.socket), **options) as client:
            return client.execute_command(*command)

    def cut(self, kind: str = "normal") -> int:
        """Cuts all connections of clients (``"normal"``) or subscribers (``"pubsub"``). Returns how many."""
        return int(self.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def started(*options: str, is_node: bool = False) -> Iterator[RedisServer]:
    """Yields a running server, and ends it. The test is skipped where there is none."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="aic-redis-") as folder:  # a socket's path may have 107 bytes
        server = RedisServer(Path(folder), *options, is_node=is_node)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@contextmanager
def cluster_started() -> Iterator[tuple[RedisServer, RedisServer]]:
    """Yields the two nodes of a Redis Cluster, each of which has half of the slots."""
    with started(is_node=True) as one, started(is_node=True) as other:
        one.ask("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        other.ask("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        other.ask("CLUSTER", "SET-CONFIG-EPOCH", 2)
        other.ask("CLUSTER", "MEET", "127.0.0.1", one.port, one.bus)
        for node in (one, other):
            while not {b"cluster_state:ok", b"cluster_slots_ok:16384"} <= set(node.ask("CLUSTER", "INFO").split()):
                time.sleep(0.02)  # the test's own timeout bounds it
        yield one, other
