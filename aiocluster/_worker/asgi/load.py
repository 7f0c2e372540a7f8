"""From an imported object to what a worker runs, if it is an ASGI app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..._bind import BindAddress
from ..._wire.frames import AsgiTarget, FunctionTarget
from ..failure import CannotStartError
from .recognize import is_asgi, refuse_wsgi

Serve = Callable[[], Awaitable[None]]


def app_of(found: Any, target: AsgiTarget) -> Serve:
    """Returns the async function that serves what was imported as an ASGI app.

    Raises:
        TargetError: It is none.
        CannotStartError: uvicorn is not installed, or can't work with its options.
    """
    prepare = _prepare()
    return prepare(
        found, str(target.app), is_factory=target.factory, addresses=target.addresses, options=target.options
    )


def recognized(found: Any, target: FunctionTarget, address: BindAddress) -> Serve | None:
    """Returns the async function that serves what was imported without arguments for it; None if it is no ASGI app.

    Args:
        found: What was imported.
        target: Its name.
        address: Where it is served.

    Raises:
        TargetError: It is a WSGI app.
        CannotStartError: uvicorn is not installed.
    """
    if not is_asgi(found):
        refuse_wsgi(found, str(target))
        return None
    return app_of(found, AsgiTarget(target, False, [address], {}))


def warm() -> None:
    """In a fork server: imports what its workers will need to serve an app."""
    _prepare()
    import uvicorn.protocols.http.auto
    import uvicorn.protocols.websockets.auto  # noqa: F401


def _prepare() -> Callable[..., Serve]:
    try:
        from .serve import prepare
    except ModuleNotFoundError as error:
        if error.name == "uvicorn":
            text = "an ASGI app needs uvicorn, which is not installed: pip install aiocluster[web]"
            raise CannotStartError(text) from None
        raise
    return prepare
