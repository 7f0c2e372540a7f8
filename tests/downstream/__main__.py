"""``python -m tests.downstream [SUITE…]``: runs the suites, prints a table, and fails if a test fails inside only.

Such a test is run again by itself before it counts.

Each suite has an environment of its own below ``.cache/downstream``, made once. It takes long: an hour for all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from .outcomes import Difference, Run, differences, read
from .suites import CPYTHON, PYTEST, SUITES, Suite

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "downstream" / f"{sys.version_info.major}.{sys.version_info.minor}"
LIMIT = 600  # seconds that one run of a suite may take


def prepare(suite: Suite) -> tuple[Path, Path]:
    """The suite's interpreter, and the folder of its tests."""
    folder = CACHE / (suite.name if suite.name == CPYTHON else f"{suite.name}-{suite.version}")
    python, source = folder / "venv" / "bin" / "python", folder / "source"
    ready = folder / "ready"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [str(python), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)
        subprocess.run([*pip, "-e", str(ROOT), "uvloop", *PYTEST, *(_pinned(suite))], check=True)
        if suite.name != CPYTHON:
            _unpack(suite, python, folder, source)
        else:
            source.mkdir(exist_ok=True)
        ready.touch()
    return python, source


def _pinned(suite: Suite) -> list[str]:
    name = suite.name
    return [f"{need}=={suite.version}" if need.split("[")[0] == name else need for need in suite.needs]


def _unpack(suite: Suite, python: Path, folder: Path, source: Path) -> None:
    download = [str(python), "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps", "-d", str(folder)]
    subprocess.run([*download, f"{suite.name}=={suite.version}"], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (folder / archive.name.removesuffix(".tar.gz")).rename(source)
    # The tests import the package that is installed, with what was compiled for it.
    for package in (source / suite.name, source / "src" / suite.name):
        if package.is_dir() and not (package / "tests").is_dir():
            package.rename(package.with_name(f"not-{suite.name}"))


def run(suite: Suite, how: str, loop: str, only: Sequence[str] = ()) -> Run:
    """One run of a suite, or of some of its tests."""
    python, source = prepare(suite)
    out = CACHE / f"{suite.name}-{how}-{loop}{'-again' if only else ''}.jsonl"
    out.write_text("")
    tests = only or suite.tests
    args = ["unittest", *tests] if suite.name == CPYTHON else [*tests, "--timeout=60", *suite.options]
    if suite.name != CPYTHON:  # without these, pytest would read this project's configuration
        config = next(name for name in ("pytest.ini", "pyproject.toml") if (source / name).exists())
        args += [f"--rootdir={source}", "-c", str(source / config)]
    left_out = [*suite.left_out, *(suite.left_out_on_uvloop if loop == "uvloop" else ())]
    if left_out and suite.name != CPYTHON:
        args += ["-k", "not (" + " or ".join(left_out) + ")"]
    environment = {**os.environ, "AIOCLUSTER_DOWNSTREAM_OUT": str(out), "PYTHONPATH": str(source)}
    command = [str(python), str(Path(__file__).with_name("inside.py")), how, loop, *args]
    with out.with_suffix(".log").open("w") as log:
        try:
            subprocess.run(
                command, cwd=source, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            print(f"{suite.name} on {loop}, {how}: not done after {LIMIT} s", flush=True)
    return read(out.read_text().splitlines())


def row(suite: Suite, loop: str) -> tuple[dict[str, object], list[Difference]]:
    """A row of the table, and the real differences."""
    plain, inside = run(suite, "plain", loop), run(suite, "worker", loop)
    found = differences(plain, inside, suite.differs)
    real = [one for one in found if not one.reason]
    if real:  # by themselves: on a busy machine, some fail by chance
        again = run(suite, "worker", loop, [one.test for one in real])
        passed = {one.test for one in real if again.tests.get(one.test) == "passed"}
        inside.tests.update(dict.fromkeys(passed, "passed"))
        found = [one for one in found if one.test not in passed]
        real = [one for one in real if one.test not in passed]
    shared = sum((inside.shared or {}).values())
    if not shared and not suite.shares_nothing:
        real.append(Difference("no port was shared", "", "the suite would show nothing"))
    cells = {
        "suite": f"{suite.name} {suite.version or sys.version.split()[0]}",
        "loop": loop,
        "passed plainly": plain.count("passed"),
        "passed inside": inside.count("passed"),
        "ports shared": shared,
        "listed": len(found) - sum(not one.reason for one in found),
        "real differences": len(real),
    }
    return cells, real


def table(rows: list[dict[str, object]]) -> str:
    """The rows as Markdown."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * (len(head) - 2)]
    return "\n".join([*lines, *("| " + " | ".join(str(one[name]) for name in head) + " |" for one in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.downstream", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(one.name for one in SUITES)}")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), action="append", help="both by default")
    parser.add_argument("--json", type=Path, help="writes the rows there")
    options = parser.parse_args()
    rows, failed = [], 0
    for suite in SUITES:
        if options.suites and suite.name not in options.suites:
            continue
        for loop in [one for one in suite.loops if not options.loop or one in options.loop]:
            cells, real = row(suite, loop)
            rows.append(cells)
            print(cells, flush=True)
            for one in real:
                failed += 1
                print(f"--- only inside: {one.test}\n{one.text}\n", flush=True)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
