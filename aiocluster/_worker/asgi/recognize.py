"""What an imported object is: an ASGI app, a WSGI app, or something else. It imports no uvicorn."""

from __future__ import annotations

import inspect
from typing import Any

from ...errors import TargetError


def is_asgi(found: Any) -> bool:
    """Whether it is an ASGI app: it takes exactly three positional parameters (scope, receive, send).

    A function or an instance with ``__call__`` does. A class does if its instances can be awaited.
    """
    return _parameters(found) == 3 and (not inspect.isclass(found) or hasattr(found, "__await__"))


def refuse_wsgi(found: Any, name: str) -> None:
    """Raises `TargetError` if it is a WSGI app: neither async nor a class, and it takes exactly two parameters."""
    if _parameters(found) == 2 and not inspect.isclass(found) and not _is_async(found):
        if inspect.isroutine(found):
            what = (
                f"{name} takes two parameters, as a WSGI app does; if it is none, it needs two args. Workers serve ASGI"
            )
        else:
            what = f"{name} is a WSGI app ({_described(found)}), and workers serve ASGI"
        raise TargetError(
            f"{what}: wrap it, for example with a2wsgi.WSGIMiddleware, or take the framework's ASGI app, such as "
            "Django's get_asgi_application()"
        )


def refuse_no_app(found: Any, name: str) -> None:
    """Raises `TargetError` if what is given as an ASGI app can't be one."""
    if not callable(found):
        raise TargetError(f"{name} is no ASGI app, but {_described(found)}: an app can be called")
    if _parameters(found) == 0 and not inspect.isclass(found):
        raise TargetError(
            f"{name} takes no parameters, so it is no ASGI app: if it returns one, say so with --factory, or "
            "AsgiApp(…, factory=True)"
        )
    refuse_wsgi(found, name)


def refuse_returned_app(result: Any, name: str) -> None:
    """Raises `TargetError` if what a function has returned is an ASGI app, which nobody would serve."""
    if callable(result) and is_asgi(result):
        raise TargetError(
            f"{name} has returned an ASGI app ({_described(result)}): have it served with --factory, or as "
            "AsgiApp(…, factory=True)"
        )


def _parameters(found: Any) -> int | None:
    """How many positional parameters it must be given; None if it takes others, too, or can't be called."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(one.kind not in positional or one.default is not one.empty for one in parameters):
        return None
    return len(parameters)


def _is_async(found: Any) -> bool:
    return inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(getattr(found, "__call__", None))  # noqa: B004


def _described(found: Any) -> str:
    kind = type(found)
    return "a function" if inspect.isroutine(found) else f"{kind.__module__}.{kind.__qualname__}"
