"""A reader's desk: an empty folder, a shell, and terminals in which programs stay."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.docs.snippets import ROOT

INSTALL = re.compile(r"(?:\.venv/bin/|python3? -m )?(?:pip install|venv)\b|source \.venv/bin/activate")
"""What a reader does to install something: the tests have it all."""
_SECONDS = 60.0  # for each step


class PageError(AssertionError):
    """The page says what does not hold."""


class Desk:
    """Where a reader works: a folder, and terminals.

    Args:
        folder: An empty one.
        env: The environment of all commands.
    """

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self._env = env
        self._terminals: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self.printed = ""

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def expects(self, name: str, text: str) -> None:
        """Expects that the file is exactly so."""
        if (self.folder / name).read_text() != text:
            raise PageError(f"{name} is another one:\n{(self.folder / name).read_text()}")

    def change(self, name: str, difference: str) -> None:
        """Changes a file; of the difference, only the lines count that begin with a blank, - or +."""
        lines = [line for line in difference.splitlines() if not line.startswith(("---", "+++", "@@"))]
        old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
        new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
        text = (self.folder / name).read_text()
        if text.count(old) != 1:
            raise PageError(f"{name} has these lines {text.count(old)} times:\n{old}")
        self.write(name, text.replace(old, new))

    def run(self, command: str, code: int = 0) -> None:
        """Runs a command to its end; what it prints is in `printed`."""
        if INSTALL.match(command):
            _check_extras(command)
            return
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
        )
        self.printed = done.stdout.decode()
        if done.returncode != code or ("Traceback (most" in self.printed and code == 0):
            others = "".join(f"\n{name}:\n{log.read_text()}" for name, (_, log) in self._terminals.items())
            raise PageError(f"{command}\nended with {done.returncode}, not {code}:\n{self.printed}{others}")

    def start(self, name: str, command: str, until: str) -> None:
        """Starts a command in a terminal, and waits until it has printed that text, or listens if there is none."""
        log = self.folder.parent / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}" if not re.match(r"\w+=|while |for ", command) else command],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._terminals[name] = process, log
        if until:
            self.shows(name, until)
            return
        for _ in _patiently(f"{command} does not listen:", log):
            if process.poll() is not None:
                raise PageError(f"{command}\nended with {process.returncode}:\n{log.read_text()}")
            if _listens(process.pid, self._env["XDG_RUNTIME_DIR"]):
                return

    def shows(self, name: str, text: str) -> None:
        process, log = self._terminals[name]
        for _ in _patiently(f"no {text!r} in", log):
            if (found := _in_order(text, log.read_text())) is None:
                return
            if process.poll() is not None:
                raise PageError(f"no {found!r} in\n{log.read_text()}")

    def prints(self, text: str, terminal: str) -> None:
        """Expects that the last command has printed that, or the one in that terminal."""
        if terminal:
            self.shows(terminal, text)
        elif (missing := _in_order(text, self.printed)) is not None:
            raise PageError(f"no {missing!r} in\n{self.printed}")

    def ctrl_c(self, name: str, text: str = "") -> None:
        """Ends what runs in a terminal, which must then show that text."""
        process, log = self._terminals.pop(name)
        if process.poll() == 0:
            return
        if process.poll() is not None:
            raise PageError(f"{name} had ended with {process.returncode}:\n{log.read_text()}")
        os.killpg(process.pid, signal.SIGINT)
        try:
            code = process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise PageError(f"{name} does not end:\n{log.read_text()}") from None
        if code not in (0, -signal.SIGINT, 128 + signal.SIGINT):
            raise PageError(f"{name} ended with {code}:\n{log.read_text()}")
        if (missing := _in_order(text, log.read_text())) is not None:
            raise PageError(f"no {missing!r} in\n{log.read_text()}")

    def close(self) -> None:
        """Ends all terminals, the newest first."""
        try:
            while self._terminals:
                self.ctrl_c([*self._terminals][-1])
        finally:
            for process, _ in self._terminals.values():
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _patiently(what: str, log: Path) -> Iterator[None]:
    """Yields again and again, and raises PageError once the time for a step is over."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        yield
        time.sleep(0.1)
    raise PageError(f"{what}\n{log.read_text()}")


def _listens(pid: int, except_in: str) -> bool:
    """Whether a process or one it has started listens, otherwise than in that folder (what controls a cluster)."""
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            for connection in one.net_connections("all"):
                if connection.family == socket.AF_UNIX and str(connection.laddr).startswith(f"{except_in}/"):
                    continue
                if connection.status == psutil.CONN_LISTEN:
                    return True
                if connection.type == socket.SOCK_DGRAM and connection.family != socket.AF_UNIX and connection.laddr:
                    return True
                if connection.family == socket.AF_UNIX and connection.laddr and connection.type == socket.SOCK_STREAM:
                    return True
    except psutil.NoSuchProcess:
        pass
    return False


def _in_order(expected: str, printed: str) -> str | None:
    """Returns the first line of what is expected that does not follow the ones before it; None if all do."""
    lines = iter(printed.splitlines())
    for line in filter(None, map(str.strip, expected.splitlines())):
        pattern = re.sub(r"\d+(?:\\\.\d+)*", lambda _: r"[\d.]+", re.escape(line))
        pattern = re.sub(r"(?:\\ )+", r"\\s+", pattern.replace("…", ".*"))
        if line != "…" and not any(re.search(pattern, one) for one in lines):
            return line
    return None


def _check_extras(command: str) -> None:
    """Expects that pip would find the extras of aiocluster that a command names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for names in re.findall(r"aiocluster\[([\w,-]+)\]", command):
        if unknown := set(names.split(",")) - project["optional-dependencies"].keys():
            raise PageError(f"{command}: no extra {unknown}")


def path() -> str:
    """Where its commands are: first where the tests' Python has them."""
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin"


@contextmanager
def desk() -> Iterator[Desk]:
    """A new one, with folders of its own for what commands remember."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        home = Path(place)
        (home / "shop").mkdir()
        (home / "run").mkdir(0o700)
        new = Desk(
            home / "shop",
            {
                **os.environ,
                "HOME": place,
                "PATH": path(),
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                "XDG_CONFIG_HOME": f"{place}/config",
                "XDG_RUNTIME_DIR": f"{place}/run",
                "XDG_STATE_HOME": f"{place}/state",
            },
        )
        stack.callback(new.run, "if test -e ../state; then aiocluster delete --all; fi")
        stack.callback(new.close)
        yield new
