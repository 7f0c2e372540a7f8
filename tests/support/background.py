"""Clusters in the background, as tests start them: with folders of their own, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiocluster._control.claim import find
from aiocluster._control.memory import Memory

from .programs import environment

TERMINAL = {"LINES": "30", "TERM": "xterm"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the clusters of a test are.

    Attributes:
        folder: The working directory, with the test's programs.
        env: The environment of its commands.
    """

    folder: Path
    env: dict[str, str]

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-W", "error", "-m", "aiocluster", *words]

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end. There is never a traceback."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def shows(self, *words: str, **env: str) -> str:
        """What the command prints, which must succeed."""
        done = self.run(*words, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def described(self, name: str) -> Any:
        import json

        return json.loads(self.shows("describe", name, "--json"))

    def in_terminal(self, *words: str, columns: int = 80) -> Any:
        """Starts the command in a terminal of that width."""
        import pexpect  # type: ignore[import-untyped]

        program, *arguments = self.command(*words)
        return pexpect.spawn(
            program,
            arguments,
            cwd=str(self.folder),
            env={**self.env, **TERMINAL},
            dimensions=(30, columns),
            encoding="utf-8",
            timeout=120,
        )

    @property
    def log(self) -> Path:
        return Path(self.env["XDG_STATE_HOME"]) / "aiocluster/shop/log"

    def alive(self) -> list[int]:
        """The primaries that run."""
        folder = Path(self.env["XDG_RUNTIME_DIR"]) / "aiocluster"
        return [one.pid for one in find(folder) if one.is_alive and one.pid is not None]


@contextmanager
def place() -> Iterator[Place]:
    """Yields a place. At its end all of its clusters are killed, and their keepers have ended."""
    with tempfile.TemporaryDirectory(prefix="aic-") as folder:
        runtime, state, programs = (Path(folder) / name for name in ("r", "s", "p"))
        for one in (runtime, state, programs):
            one.mkdir(mode=0o700)
        env = {**environment(), "XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(state)}
        here = Place(programs, {name: value for name, value in env.items() if name not in ("COLUMNS", "PWD")})
        try:
            yield here
        finally:
            for pid in here.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for one in state.glob("aiocluster/*"):
                while Memory(one).is_held("keeper"):  # it always ends; the test's own timeout bounds the wait
                    time.sleep(0.005)
