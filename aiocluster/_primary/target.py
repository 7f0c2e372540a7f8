"""Names a target so that another process can find it, or says why none could.

It runs no code of the target: modules that workers import may be meant for workers only.
"""

from __future__ import annotations

import ast
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .._wire.codec import pack
from .._wire.frames import AsgiTarget, FunctionTarget, MainTarget, ModuleTarget, ScriptTarget, TargetName
from ..errors import SerializationError, TargetError
from ..integrations.asgi import AsgiApp
from ..settings import Target
from .folders import Folders


def name_target(
    target: Target,
    cwd: str | os.PathLike[str] | None = None,
    folders: Folders | None = None,
    *,
    is_edited: bool = False,
) -> TargetName:
    """Returns how another process finds this target.

    Args:
        target: A function, a string, a path, an `AsgiApp` or None; see `Settings.target`.
        cwd: The workers' working directory; relative script paths start there.
        folders: Where this process was started from.
        is_edited: Whether its source may have errors, which the workers then tell.

    Raises:
        TargetError: No worker could find it. The text says what to do.
        TypeError: An option of an `AsgiApp` can't be sent to a worker.
    """
    folders = folders or Folders()
    if target is None:
        return _main_script(folders, "None as a target runs the main script again")
    if isinstance(target, str):
        if _looks_like_a_path(target):
            return _script(Path(target), folders, cwd)
        if ":" in target:
            module, _, name = target.partition(":")
            return _member(module, name, folders, cwd, is_edited=is_edited)
        return _module(target, folders, cwd)
    if isinstance(target, os.PathLike):
        return _script(Path(target), folders, cwd)
    if isinstance(target, AsgiApp):
        return _app(target, folders, cwd, is_edited=is_edited)
    if callable(target):
        return _function(target, folders)
    raise TargetError(f"a target is a function, a string, a path, an AsgiApp or None, not {target!r}")


def _app(target: AsgiApp, folders: Folders, cwd: str | os.PathLike[str] | None, *, is_edited: bool) -> AsgiTarget:
    module, colon, name = target.app.partition(":")
    if not colon:
        raise TargetError(f"an ASGI app is named as package.module:name, not {target.app!r}")
    options = target._uvicorn_options()
    try:
        pack(options)
    except SerializationError as error:
        what = str(error).replace("message", "uvicorn", 1)
        raise TypeError(f"AsgiApp: {what} (a class or a function is named as text, where uvicorn takes that)") from None
    return AsgiTarget(
        _member(module, name, folders, cwd, is_edited=is_edited), target.factory, target._addresses(), options
    )


def _function(function: Any, folders: Folders) -> TargetName:
    name = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", None)
    if "<lambda>" in name:
        raise TargetError("a lambda can't be named to another process: define a module-level function")
    if "<locals>" in name:
        raise TargetError(
            f"{name} is defined inside a function, where no other process finds it: move it to module level"
        )
    if not name or module is None:
        raise TargetError(
            f"{function!r} can't be named to another process: give a module-level function, or an app's name as text, "
            'such as "shop.web:app"'
        )
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found != function:  # not `is`: a class method is a new object each time
        raise TargetError(f"{module}:{name} is not {function!r}: give a function under its own module-level name")
    if module in ("__main__", "__mp_main__"):  # the second one in a worker, which may have a cluster of its own
        return FunctionTarget("__mp_main__", name, _main_script(folders, f"{name} is in the main script"))
    return FunctionTarget(module, name)


def _main_script(folders: Folders, what: str) -> MainTarget:
    """Returns how to run the main script again, in the same two ways as multiprocessing's spawn.

    In a worker that has imported it, the main script is ``__mp_main__``.
    """
    main = sys.modules.get("__mp_main__") or sys.modules["__main__"]
    spec: ModuleSpec | None = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in ("__main__", None):
        return MainTarget(module=spec.name.removesuffix(".__main__"))
    path = getattr(main, "__file__", None)
    path = path and folders.now(os.path.join(folders.cwd() or "", path))
    if path is None or not os.path.exists(path):  # such as "<stdin>"
        raise TargetError(f"{what}, and there is none here (an interactive session?): put it in a file")
    return MainTarget(path=os.path.normpath(path))


def _looks_like_a_path(target: str) -> bool:
    return target.endswith((".py", ".pyc")) or os.sep in target


def _script(path: Path, folders: Folders, cwd: str | os.PathLike[str] | None) -> TargetName:
    folder = folders.cwd(cwd) or "."
    whole = Path(folders.now(os.path.join(folder, path)))
    if not whole.exists():
        raise TargetError(f"there is no script {path} in {folder}{_as_module(str(path).rpartition(':')[0])}")
    if whole.is_dir() and not (whole / "__main__.py").exists():
        raise TargetError(f"{path} is a folder without a __main__.py")
    if not os.access(whole, os.R_OK):
        raise TargetError(f"the script {path} can't be read")
    return ScriptTarget(str(whole))


def _module(module: str, folders: Folders, cwd: str | os.PathLike[str] | None) -> TargetName:
    spec = _find(module, folders, cwd)
    if spec.submodule_search_locations is not None:
        _find(f"{module}.__main__", folders, cwd, f"{module} is a package without a __main__")
    return ModuleTarget(module)


def _member(
    module: str, name: str, folders: Folders, cwd: str | os.PathLike[str] | None, *, is_edited: bool
) -> FunctionTarget:
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(f"{module}:{name}: the part after the colon must be a name")
    spec = _find(module, folders, cwd)
    first = name.partition(".")[0]
    if isinstance(spec.loader, SourceFileLoader) and spec.origin is not None:
        try:
            may_define = _may_define(spec.origin, first)
        except (SyntaxError, ValueError) as error:
            if not is_edited:
                raise TargetError(f"{spec.origin} can't be imported: {error}") from None
        else:
            if not may_define:
                raise TargetError(f"{module} ({spec.origin}) defines no {first!r}")
    return FunctionTarget(module, name, in_cwd=True)


def is_plain_function(target: str, cwd: str | os.PathLike[str] | None = None) -> bool:
    """Whether the source says that ``"module:name"`` is a function, and one that can't be a web application.

    Applications of ASGI have three positional parameters, those of WSGI two. False if the source can't tell, as for a
    decorated function.

    Args:
        target: The target.
        cwd: The workers' working directory.
    """
    module, _, name = target.partition(":")
    try:
        spec = _find(module, Folders(), cwd)
        if not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
            return False
        tree = _parsed(spec.origin)
    except (TargetError, OSError, SyntaxError, ValueError):
        return False
    match tree and [node for node in _module_level(tree) if _binds(node, name)]:
        case [ast.FunctionDef(decorator_list=[]) | ast.AsyncFunctionDef(decorator_list=[]) as function]:
            return len(function.args.posonlyargs) + len(function.args.args) not in (2, 3)
    return False


def _binds(node: ast.AST, name: str) -> bool:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name == name
        case ast.Import() | ast.ImportFrom():
            return any((alias.asname or alias.name) == name for alias in node.names)
        case ast.Name(id=bound, ctx=ast.Store()):
            return bound == name
    return False


def _find(module: str, folders: Folders, cwd: str | os.PathLike[str] | None, complaint: str = "") -> ModuleSpec:
    """Finds a module without importing anything."""
    if not all(part.isidentifier() for part in module.split(".")):
        raise TargetError(f"{module!r} is neither a module's name nor a script's path (which ends in .py)")
    path: list[str] | None = [folders.cwd(cwd) or ".", *folders.path()]
    spec: ModuleSpec | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(
            part, path
        )  # by its whole name, the parents of a namespace would have to be imported
        if spec is None and "." not in name:
            spec = find_spec(name)  # built in, frozen, or found by a custom importer
        if spec is None:
            where = _as_module(module) or " on sys.path, nor in the working directory"
            raise TargetError(complaint or f"there is no module {name!r}{where}")
        path = list(spec.submodule_search_locations or ())
    assert spec is not None
    return spec


def _as_module(file: str) -> str:
    """What to tell whoever has named a file where a module belongs; "" if there is nothing to tell."""
    module = os.path.normpath(file).removesuffix(".py").replace(os.sep, ".")
    if not file.endswith(".py") or not all(part.isidentifier() for part in module.split(".")):
        return ""
    return f": leave out .py, the module of that file is {module!r}"


def _may_define(origin: str, name: str) -> bool:
    """Whether this source file may bind the name at module level; True if that is unknown.

    Raises:
        SyntaxError: It can't be parsed.
        ValueError: Likewise: it has null bytes.
    """
    tree = _parsed(origin)
    if tree is None:
        return True
    for node in _module_level(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                if node.name in (name, "__getattr__"):
                    return True
            case ast.Import() | ast.ImportFrom():
                if any((alias.asname or alias.name.partition(".")[0]) in (name, "*") for alias in node.names):
                    return True
            case ast.Name(id=bound, ctx=ast.Store()) if bound == name:
                return True
            case ast.Call(func=ast.Name(id="globals" | "exec" | "setattr")):
                return True
    return False


def _parsed(origin: str) -> ast.Module | None:
    """Parses a source file. Returns None if CPython can't, although nothing is wrong with it.

    It counts nesting for all trees of an interpreter together. So if the garbage collector runs meanwhile, and a
    finalizer parses something else, then parsing fails with a SystemError. The log of a task's exception that was
    never retrieved is such a finalizer: it shows a traceback, and ``traceback`` parses the lines.

    Raises:
        SyntaxError: It can't be parsed.
        ValueError: Likewise: it has null bytes.
        OSError: It can't be read.
    """
    source = Path(origin).read_bytes()
    for _ in range(3):
        try:
            return ast.parse(source, origin)
        except SystemError:
            pass
    return None


def _module_level(tree: ast.AST) -> list[ast.AST]:
    """Returns all nodes that run when the module does, so none inside functions and classes."""
    found: list[ast.AST] = []
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        found.append(node)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            pending.extend(ast.iter_child_nodes(node))
    return found
