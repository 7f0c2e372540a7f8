"""``aiocluster run opentelemetry-instrument …``: what that program does is done for the workers alone.

It sets variables for what follows it, and becomes that with exec(3). A worker that did so would lose its channel. So it
is run once, in front of an interpreter that tells its variables, and the workers get these.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

NAME: Final = "opentelemetry-instrument"

_PYTHON = re.compile(r"python[\d.]*$")
_SECONDS = 60.0  # for a program that starts Python and then another Python
_RUN = f"""
import sys
sys.argv[0] = {NAME!r}
try:
    from opentelemetry.instrumentation.auto_instrumentation import run
except ModuleNotFoundError as error:
    if error.name.partition(".")[0] != "opentelemetry":
        raise
    sys.exit("{NAME} is not installed: pip install opentelemetry-distro")
run()
"""
_TELL = "import json, os; print(json.dumps(dict(os.environ)))"


class InstrumentError(Exception):
    """It did not run; in one line."""


def names_it(target: str) -> bool:
    """Whether this word names the program, with or without its folder."""
    return os.path.basename(target) == NAME


def apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the program's own options, and what they stand in front of, without ``python`` and ``python -m``.

    All of its options take a value, but for those that have it run nothing.

    Args:
        words: What follows the program's name.
    """
    options: list[str] = []
    left = list(words)
    while left and left[0].startswith("-"):
        has_value = left[0].startswith("--") and "=" not in left[0] and left[0] not in ("--help", "--version")
        options += left[: 2 if has_value else 1]
        del left[: 2 if has_value else 1]
    if left and _PYTHON.match(os.path.basename(left[0])):
        del left[0]
        if left[:1] == ["-m"]:
            del left[0]
    return options, left


def variables(
    options: Sequence[str], env: Mapping[str, str], *, executable: str | None = None, cwd: str | None = None
) -> Mapping[str, str]:
    """Returns the variables that the program sets for what it runs.

    The same question is asked once: a reload that changes nothing of it does not start the program again.

    Args:
        options: Its options.
        env: The variables that workers would have without it.
        executable: The workers' interpreter; None: this one.
        cwd: Their working directory; None: this one.

    Raises:
        InstrumentError: It did not run.
    """
    counts = {name: value for name, value in env.items() if name.startswith("OTEL_") or name == "PYTHONPATH"}
    return _ask(tuple(options), tuple(sorted(counts.items())), executable or sys.executable, cwd or os.getcwd())


@functools.lru_cache(maxsize=4)
def _ask(options: tuple[str, ...], counts: tuple[tuple[str, str], ...], executable: str, cwd: str) -> Mapping[str, str]:
    rest = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_") and name != "PYTHONPATH"}
    before = {**rest, **dict(counts)}
    # -P: the working directory is no place for modules yet. -I and -S: the second one is not instrumented itself.
    command = [executable, "-P", "-c", _RUN, *options, executable, "-I", "-S", "-c", _TELL]
    try:
        done = subprocess.run(command, env=before, cwd=cwd, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstrumentError(f"{NAME} can't be run: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise InstrumentError(lines[-1] if NAME in lines[-1] else f"{NAME}: {lines[-1]}")
    try:
        after: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise InstrumentError(f"{NAME} {' '.join(options)} runs nothing: it is not for aiocluster run") from None
    return {name: value for name, value in after.items() if before.get(name) != value}
