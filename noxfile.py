"""The project's tasks: ``nox`` runs the default ones, ``nox -l`` lists all.

Sessions run in the environment that nox itself is installed in (``pip install -e . --group dev``).
Only ``nox -s tests-3.13`` and the like make an environment of their own, for another version of Python.
"""

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.10.16"
nox.options.default_venv_backend = "none"
nox.options.error_on_external_run = False
nox.options.error_on_missing_interpreters = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def run(session: nox.Session, command: str, *args: str, group: str, success_codes: tuple[int, ...] = (0,)) -> None:
    """Run a command of the environment, which has the dependency group's packages."""
    if session.venv_backend == "none":
        # By path: nox may have been called by its path, and then PATH does not have this environment.
        command = str(Path(sys.executable).with_name(command))
    else:
        session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, group))
    session.run(command, *args, success_codes=success_codes)


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    run(session, "ruff", "check", ".", group="lint")
    run(session, "ruff", "format", "--check", ".", group="lint")


@nox.session(tags=["check"])
def types(session: nox.Session) -> None:
    """The type checker, over the package, its tests and its examples."""
    run(session, "mypy", *session.posargs, group="dev")


@nox.session(tags=["check"])
def typing(session: nox.Session) -> None:
    """What mypy and pyright make of the public API: deliberate mistakes, correct uses, and every public name's type."""
    run(session, "python", "-m", "tests.typing", group="dev")


@nox.session(tags=["check"])
def imports(session: nox.Session) -> None:
    """Which folder of the package may import which."""
    run(session, "lint-imports", group="lint")


@nox.session(tags=["check"])
def docs(session: nox.Session) -> None:
    """The documentation, into site/; a warning is an error."""
    run(session, "python", "-m", "tests.docs.command_page", "--check", group="dev")
    run(session, "python", "-m", "tests.docs.example_pages", "--check", group="dev")
    run(session, "python", "-m", "tests.docs.settings_page", "--check", group="dev")
    run(session, "codespell", group="docs")
    run(session, "zensical", "build", "--strict", "--clean", group="docs")


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite; arguments after -- go to pytest."""
    run(session, "python", "-m", "pytest", *session.posargs, group="test")


def interpreter(version: str) -> str:
    """That version of Python: pyenv's, as its shims only run the version that is active, or else what nox finds."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return next(map(str, root.glob(f"versions/{version}.*/bin/python{version}")), version)


def tests_elsewhere(session: nox.Session) -> None:
    """The test suite on this version of Python; arguments after -- go to pytest."""
    run(session, "python", "-m", "pytest", *session.posargs, group="test")


for version in PYTHONS:
    nox.session(
        tests_elsewhere,
        name=f"tests-{version}",
        python=interpreter(version),
        venv_backend="venv",
        reuse_venv=True,
        download_python="never",
        default=False,
    )


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """The long tests with random faults."""
    run(
        session,
        "python",
        "-m",
        "pytest",
        "-m",
        "chaos",
        "--timeout=900",
        *session.posargs,
        group="test",
    )


@nox.session(default=False)
def fleet(session: nox.Session) -> None:
    """Fleets of clusters while Redis, the network or a whole cluster fails, three times each. Needs redis-server."""
    for _ in range(3):
        run(
            session,
            "python",
            "-m",
            "pytest",
            "-m",
            "fleet or not fleet",
            "-n1",
            "tests/fleet",
            *session.posargs,
            group="test",
        )


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The benchmarks, and how even connections are spread; arguments after -- go to the benchmarks."""
    run(session, "python", "-m", "tests.benchmarks", *session.posargs, group="bench")
    if not session.posargs:
        run(session, "python", "-m", "tests.benchmarks.even", group="bench")


@nox.session(default=False)
def simulation(session: nox.Session) -> None:
    """Every scheduling policy against the same traffic; with -- --markdown as the tables of the docs."""
    run(session, "python", "-m", "tests.simulation", *session.posargs, group="test")


@nox.session(default=False)
def downstream(session: nox.Session) -> None:
    """Other people's test suites, plainly and inside one worker: `nox -s downstream -- aioquic uvicorn`. It is long."""
    run(session, "python", "-m", "tests.downstream", *session.posargs, group="test")


@nox.session(default=False)
def pictures(session: nox.Session) -> None:
    """Draws the pictures of the docs anew: the drawn ones, and what the command shows, which needs port 8000."""
    run(session, "python", "-m", "tests.docs.drawings", group="test")
    run(session, "python", "-m", "tests.docs.pictures", group="test")


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Four workers behind one port, and a few requests that show it."""
    run(session, "python", "examples/demo.py", *session.posargs, group="test")


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """How many small faults in the pure modules the unit tests find; arguments after -- name mutants."""
    run(session, "mutmut", "run", "--max-children", "2", *session.posargs, group="mutation")
    run(session, "python", "-m", "tests.support.mutation_score", group="mutation")


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Which lines the tests run, in workers too; arguments after -- go to pytest."""
    run(session, "coverage", "erase", group="coverage")
    try:
        # Tests of what a process imports, writes or takes in time fail under coverage; what they run counts anyway.
        run(session, "coverage", "run", "-m", "pytest", *session.posargs, group="coverage", success_codes=(0, 1))
    finally:
        run(session, "coverage", "combine", "--quiet", group="coverage")
        run(session, "coverage", "report", group="coverage")
