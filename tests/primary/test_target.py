"""Naming a target: what another process will find, or why none could."""

from __future__ import annotations

import ast
import functools
import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiocluster._primary.target import name_target
from aiocluster._wire.frames import FunctionTarget, MainTarget, ModuleTarget, ScriptTarget
from aiocluster.errors import TargetError

ROOT = Path(__file__).parents[2]


async def an_async_function() -> None:
    pass


def a_function() -> None:
    pass


def decorated(function: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(function)
    def wrapper() -> None:
        function()

    return wrapper


@decorated
def a_decorated_function() -> None:
    pass


def replaced() -> None:
    pass


the_replaced_one = replaced


def replaced() -> None:  # type: ignore[no-redef]
    pass


class Holder:
    def method(self) -> None:
        pass

    @classmethod
    def class_method(cls) -> None:
        pass

    @staticmethod
    def static_method() -> None:
        pass

    def __call__(self) -> None:
        pass


holder = Holder()
a_partial = functools.partial(print, 1)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules that must not be imported: each of them fails when it is."""
    for path, text in {
        "plain.py": "def serve(): ...\nasync def aserve(): ...\nclass App:\n    def run(self): ...\n",
        "names.py": (
            "import os.path, json as js\nfrom sys import argv as args, path\napp = other = 1\nx, (y, *z) = 1, (2, 3)\n"
            "for loop in (): pass\nwith open('f') as file: pass\nif (walrus := 1): inner = 2\n"
            "try:\n    import tomllib\nexcept ImportError: fallback = 1\n"
            "def f():\n    local = 1\nclass C:\n    attribute = 1\n"
        ),
        "star.py": "from os import *\n",
        "dynamic.py": "globals()['made'] = 1\n",
        "lazy.py": "def __getattr__(name): ...\n",
        "broken.py": "def serve(:\n",
        "nul.py": "x = 1\0",
        "package/__init__.py": "def here(): ...\n",
        "package/__main__.py": "",
        "package/inner.py": "def deep(): ...\n",
        "bare/__init__.py": "",
        "space/sub.py": "def in_namespace(): ...\n",
        "space/inner/deep.py": "def in_namespace(): ...\n",
        "folder/__main__.py": "",
        "script.py": "",
        "empty/readme.txt": "",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text if "broken" in path or "nul" in path else f"{text}\nraise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    imported = {name for name in set(sys.modules) - before if name.partition(".")[0] in {"plain", "package", "space"}}
    assert imported == set()
    importlib.invalidate_caches()


# ---- functions


@pytest.mark.parametrize("function", [a_function, an_async_function, a_decorated_function, name_target])
def test_a_module_level_function_is_named_by_its_module(function: Callable[..., Any]) -> None:
    assert name_target(function) == FunctionTarget(function.__module__, function.__name__)


def test_class_methods_static_methods_and_classes_are_found_by_others_too() -> None:
    for target, name in (
        (Holder.class_method, "Holder.class_method"),
        (Holder.static_method, "Holder.static_method"),
        (Holder, "Holder"),
    ):
        assert name_target(target) == FunctionTarget(__name__, name)


def test_a_lambda_is_refused() -> None:
    with pytest.raises(TargetError, match=r"^a lambda can't be named to another process: define a module-level funct"):
        name_target(lambda: None)


def test_a_nested_function_is_refused() -> None:
    def nested() -> None:
        pass

    with pytest.raises(TargetError, match=r"nested is defined inside a function.*: move it to module level$"):
        name_target(nested)


@pytest.mark.parametrize(
    "target",
    [holder.method, holder, a_partial, the_replaced_one],
    ids=["a bound method", "an object that can be called", "a partial", "one whose name is another's"],
)
def test_what_no_other_process_finds_is_refused(target: Callable[..., Any]) -> None:
    with pytest.raises(TargetError, match="give a "):
        name_target(target)


@pytest.mark.parametrize("target", [7, b"module", ["a"], object()])
def test_what_is_no_target_at_all_is_refused(target: Any) -> None:
    with pytest.raises(TargetError, match=r"^a target is a function, a string, a path, an AsgiApp or None, not "):
        name_target(target)


def test_a_coroutine_is_refused() -> None:
    coroutine = an_async_function()
    with pytest.raises(TargetError, match=r"^a target is a function"):
        name_target(coroutine)  # type: ignore[arg-type]
    coroutine.close()


# ---- "package.module:name"


@pytest.mark.parametrize(
    "target",
    [
        "plain:serve",
        "plain:aserve",
        "plain:App",
        "plain:App.run",
        "package:here",
        "package.inner:deep",
        "space.sub:in_namespace",
        "space.inner.deep:in_namespace",
        *(f"names:{name}" for name in ("os", "js", "args", "path", "app", "other", "x", "y", "z", "loop", "file")),
        *(f"names:{name}" for name in ("walrus", "inner", "tomllib", "fallback", "f", "C")),
        "star:anything",
        "dynamic:made",
        "lazy:anything",
        "json:loads",
        "math:sqrt",
        "sys:exit",
    ],
)
def test_a_member_of_a_module_is_named_without_an_import(modules: Path, target: str) -> None:
    module, _, name = target.partition(":")
    assert name_target(target) == FunctionTarget(module, name, in_cwd=True)


class _Parses:
    """Parses something when it is finalized, as the log of a task's exception does, which shows a traceback."""

    left = 0

    def __init__(self) -> None:
        self.cycle = self

    def __del__(self) -> None:
        ast.parse("1 + 2")
        _Parses.left -= 1
        if _Parses.left > 0:
            _Parses()  # for the next collection


def test_a_module_is_parsed_although_finalizers_parse_something_else() -> None:
    before = gc.get_threshold()
    _Parses.left = 1000
    _Parses()
    gc.set_threshold(1)
    try:
        assert name_target("json:loads") == FunctionTarget("json", "loads", in_cwd=True)
    finally:
        gc.set_threshold(*before)
        _Parses.left = 0


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("plain:server", "plain ({folder}/plain.py) defines no 'server'"),
        ("names:local", "names ({folder}/names.py) defines no 'local'"),
        ("names:attribute", "names ({folder}/names.py) defines no 'attribute'"),
        ("missing:serve", "there is no module 'missing' on sys.path, nor in the working directory"),
        ("package.missing:serve", "there is no module 'package.missing' on sys.path"),
        ("plain.sub:serve", "there is no module 'plain.sub' on sys.path"),
        ("plain:", "plain:: the part after the colon must be a name"),
        ("plain:serve()", "plain:serve(): the part after the colon must be a name"),
        (":serve", "'' is neither a module's name nor a script's path"),
        ("pla in:serve", "'pla in' is neither a module's name nor a script's path"),
        ("..plain:serve", "'..plain' is neither a module's name nor a script's path"),
        ("broken:serve", "{folder}/broken.py can't be imported: invalid syntax"),
        ("nul:serve", "{folder}/nul.py can't be imported: "),
    ],
)
def test_a_member_that_is_not_there_is_refused(modules: Path, target: str, text: str) -> None:
    with pytest.raises(TargetError) as caught:
        name_target(target)
    assert str(caught.value).startswith(text.format(folder=modules))


# ---- "package.module"


@pytest.mark.parametrize("target", ["plain", "package", "package.inner", "space.sub", "json.tool"])
def test_a_module_is_named_without_an_import(modules: Path, target: str) -> None:
    assert name_target(target) == ModuleTarget(target)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("missing", "there is no module 'missing' on sys.path, nor in the working directory"),
        ("bare", "bare is a package without a __main__"),
        ("", "'' is neither a module's name nor a script's path (which ends in .py)"),
        ("script-file", "'script-file' is neither a module's name nor a script's path"),
    ],
)
def test_a_module_that_is_not_there_is_refused(modules: Path, target: str, text: str) -> None:
    with pytest.raises(TargetError) as caught:
        name_target(target)
    assert str(caught.value).startswith(text)


def test_modules_of_the_workers_directory_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: Path
) -> None:
    elsewhere = tmp_path / "empty"
    monkeypatch.chdir("/")
    (elsewhere / "only_there.py").write_text("def serve(): ...\n")
    assert name_target("only_there", elsewhere) == ModuleTarget("only_there")
    assert name_target("only_there:serve", str(elsewhere)) == FunctionTarget("only_there", "serve", in_cwd=True)
    with pytest.raises(TargetError):
        name_target("only_there")


# ---- scripts


@pytest.mark.parametrize("target", ["script.py", "./script.py", Path("script.py"), "empty/../script.py"])
def test_a_script_is_named_by_its_whole_path(modules: Path, target: str | Path) -> None:
    named = name_target(target)
    assert isinstance(named, ScriptTarget)
    assert os.path.isabs(named.path)
    assert os.path.samefile(named.path, modules / "script.py")


def test_a_script_is_looked_up_in_the_workers_directory(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert name_target("script.py", modules) == ScriptTarget(str(modules / "script.py"))
    assert name_target(modules / "script.py", "/tmp") == ScriptTarget(str(modules / "script.py"))


def test_a_folder_with_a_main_is_a_script(modules: Path) -> None:
    assert name_target(Path("folder")) == ScriptTarget(str(modules / "folder"))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("missing.py", "there is no script missing.py in {folder}"),
        ("sub/missing.py", "there is no script sub/missing.py in {folder}"),
        (Path("missing"), "there is no script missing in {folder}"),
        (Path("empty"), "empty is a folder without a __main__.py"),
        ("script.py:serve", "there is no module 'script.py': leave out .py, the module of that file is 'script'"),
        (
            "./sub/web.py:serve",
            "there is no script sub/web.py:serve in {folder}: leave out .py, the module of that file is 'sub.web'",
        ),
        ("/sub/web.py:serve", "there is no script /sub/web.py:serve in {folder}"),
    ],
)
def test_a_script_that_is_not_there_is_refused(modules: Path, target: str | Path, text: str) -> None:
    with pytest.raises(TargetError) as caught:
        name_target(target)
    assert str(caught.value).startswith(text.format(folder=modules))


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_script_that_cannot_be_read_is_refused(modules: Path) -> None:
    (modules / "script.py").chmod(0)
    with pytest.raises(TargetError, match=r"^the script script\.py can't be read$"):
        name_target("script.py")


# ---- the main script, in an interpreter of its own

MAIN = """
import json
from aiocluster._primary.target import name_target
from aiocluster._wire.frames import FunctionTarget, MainTarget, ModuleTarget, ScriptTarget
from aiocluster.errors import TargetError

def serve(): ...

if __name__ == "__main__":
    for target in (None, serve):
        try:
            print(json.dumps(name_target(target).array()))
        except TargetError as error:
            print(json.dumps(str(error)))
"""


def run(*args: str, cwd: Path, stdin: str | None = None) -> list[Any]:
    done = subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_main_script_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    path = str(tmp_path / "main.py")
    assert run("main.py", cwd=tmp_path) == [
        MainTarget(path=path).array(),
        FunctionTarget("__mp_main__", "serve", MainTarget(path=path)).array(),
    ]


def test_a_main_module_is_named_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(MAIN)
    for module in ("main", "package"):
        assert run("-m", module, cwd=tmp_path) == [
            MainTarget(module).array(),
            FunctionTarget("__mp_main__", "serve", MainTarget(module)).array(),
        ]


def test_a_main_folder_is_named_by_its_main(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text(MAIN)
    main, function = run("folder", cwd=tmp_path)
    assert main == MainTarget(path=str(tmp_path / "folder" / "__main__.py")).array()
    assert function == FunctionTarget("__mp_main__", "serve", MainTarget.parse(main)).array()


@pytest.mark.parametrize("args", [("-c", MAIN), ("-",)], ids=["-c", "stdin"])
def test_without_a_main_script_that_is_said(tmp_path: Path, args: tuple[str, ...]) -> None:
    texts = run(*args, cwd=tmp_path, stdin=MAIN if args == ("-",) else None)
    assert len(texts) == 2
    for text in texts:
        assert "there is none here (an interactive session?): put it in a file" in text
