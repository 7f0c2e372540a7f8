"""What ``import aiocluster`` offers, and what it costs."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

import pytest

import aiocluster
import aiocluster.child_process
import aiocluster.events
import aiocluster.testing
from aiocluster import ClusterError
from aiocluster._events.stream import EventStream
from aiocluster._wire.inbox import MessageQueue
from aiocluster.child_process import ChildProcess, Parent

ROOT = Path(__file__).parents[1]


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has imported after that code."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    found: list[str] = json.loads(done.stdout)
    return set(found)


NAMES: list[str] = vars(aiocluster)["__all__"]


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(aiocluster, name)
    assert value.__name__ == name
    assert value.__doc__


@pytest.mark.parametrize("package", [aiocluster, aiocluster.events, aiocluster.child_process, aiocluster.testing])
def test_type_checkers_and_python_see_the_same_names(package: ModuleType) -> None:
    names: list[str] = vars(package)["__all__"]
    (block,) = [node for node in ast.parse(inspect.getsource(package)).body if _is_for_type_checkers(node)]
    typed = [
        (alias.asname, "." * statement.level + str(statement.module))
        for statement in block.body
        if isinstance(statement, ast.ImportFrom) and statement.module is not None  # else it is a module of the package
        for alias in statement.names
    ]
    assert sorted(names) == sorted(str(name) for name, _ in typed)
    for name, home in typed:
        assert getattr(package, str(name)) is getattr(import_module(home, package.__name__), str(name))
    assert set(names) <= set(dir(package))


def _is_for_type_checkers(node: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_a_star_import_gives_all_of_them() -> None:
    names: dict[str, object] = {}
    exec("from aiocluster import *", names)
    assert set(NAMES) <= set(names)


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'aiocluster' has no attribute 'Claster'$"):
        aiocluster.Claster  # type: ignore[attr-defined] # noqa: B018


def test_all_errors_are_cluster_errors_and_what_else_they_promise() -> None:
    bases = {
        "WorkerNotFoundError": LookupError,
        "MessageTooLargeError": ValueError,
        "SerializationError": ValueError,
        "ChildTimeoutError": TimeoutError,
    }
    for name in NAMES:
        if name.endswith("Error"):
            assert issubclass(getattr(aiocluster, name), ClusterError)
            assert issubclass(getattr(aiocluster, name), bases.get(name, ClusterError))
    assert issubclass(aiocluster.SerializationError, TypeError)


@pytest.mark.parametrize(
    ("cls", "maker"),
    [
        (ChildProcess, r"spawn\(\) or fork\(\)"),
        (Parent, r"parent\(\)"),
        (MessageQueue, r"messages\(\)"),
        (EventStream, r"events\(\)"),
        (aiocluster.WorkerProcess, r"Primary\.fork\(\)"),
        (aiocluster.Worker, r"current_worker\(\)"),
    ],
)
def test_what_only_the_library_makes_says_so(cls: Callable[[], object], maker: str) -> None:
    with pytest.raises(TypeError, match=rf"\(…\) can't be called: {maker} makes these objects$"):
        cls()


def test_the_package_is_typed() -> None:
    assert (Path(aiocluster.__file__).parent / "py.typed").exists()


def test_importing_the_package_imports_none_of_its_modules() -> None:
    imported = {name for name in modules_after("import aiocluster") if name.startswith("aiocluster")}
    assert imported == {"aiocluster", "aiocluster._lazy"}


def test_a_worker_starts_without_the_primarys_half() -> None:
    """Its start time is what these cost."""
    modules = modules_after("import aiocluster._worker.bootstrap")
    assert "aiocluster._worker.bootstrap" in modules
    unwanted = {"anyio", "uvloop", "multiprocessing", "random", "aiocluster._primary", "aiocluster._supervise"}
    unwanted |= {"aiocluster.events._primary", "aiocluster.events._child"}
    unwanted |= {"aiocluster.child_process", "aiocluster._state", "sqlite3", "redis"}
    assert {name for name in modules if any(name == one or name.startswith(f"{one}.") for one in unwanted)} == set()


def test_the_state_is_reached_without_what_keeps_it() -> None:
    modules = modules_after("import aiocluster._state.open")
    unwanted = {"redis", "sqlite3", "aiocluster._state.server", "aiocluster._state.sqlite", "aiocluster._state.redis"}
    assert modules.isdisjoint(unwanted)
    modules = modules_after("import aiocluster._state.process")
    assert not any(name.startswith(("redis", "sqlite3", "aiocluster._worker")) for name in modules)


def test_the_primary_starts_without_the_workers_half() -> None:
    modules = modules_after("from aiocluster import Primary, Cluster")
    assert "aiocluster._supervise.cluster" in modules
    assert {name for name in modules if name.startswith("aiocluster._worker")} == set()


def test_asking_which_process_this_is_costs_little() -> None:
    modules = modules_after("from aiocluster import is_worker, is_primary\nassert is_primary() and not is_worker()")
    assert not any(name.startswith(("aiocluster._primary", "aiocluster._supervise", "msgpack")) for name in modules)


def test_current_worker_in_no_worker_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"is_worker\(\)"):
        aiocluster.current_worker()
