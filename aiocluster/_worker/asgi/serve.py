"""Serves an ASGI app with uvicorn. It imports uvicorn, so it is imported when there is an app."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import uvicorn
from uvicorn.lifespan.on import LifespanOn

from ..._bind import BindAddress
from ..._wire.frames import Spent
from ...errors import TargetError
from ..current import current_session
from ..failure import CannotStartError
from .bind import open_all
from .log import leave_out_chatter, own_loggers, restore
from .recognize import is_asgi, refuse_no_app

_FILES = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")

_FOR_LIFESPAN = 1.0
"""Seconds that requests leave to the end of the app's lifespan: a tenth of the worker's time if that is more, but no
more than half of it."""


def prepare(
    found: Any, name: str, *, is_factory: bool, addresses: Sequence[BindAddress], options: dict[str, Any]
) -> Callable[[], Awaitable[None]]:
    """Makes all ready that needs no event loop. Returns the async function that serves the app, to its end.

    Args:
        found: The app, or the function that returns it.
        name: Its name, for errors.
        is_factory: Whether it is that function.
        addresses: Where to serve it.
        options: What `uvicorn.Config` is given besides.

    Raises:
        TargetError: It is no ASGI app.
        CannotStartError: uvicorn can't work with these options.
        Exception: What the factory raises.
    """
    app = _made(found, name) if is_factory else found
    if options.get("interface") != "wsgi":
        refuse_no_app(app, name)
    if is_asgi(app):
        options = {"interface": "asgi3", **options}
    config = _config(app, options)
    server = _Server(config, addresses)

    async def serve() -> None:
        await server.serve()

    return serve


def _made(factory: Any, name: str) -> Any:
    if not callable(factory) or is_asgi(factory):
        raise TargetError(f"{name} is no factory: it can't be called without arguments to return an ASGI app")
    return factory()


def _config(app: Any, options: dict[str, Any]) -> uvicorn.Config:
    try:
        own = own_loggers()
        config = uvicorn.Config(app, workers=1, **options)
        restore(own)
        leave_out_chatter()
        config.load()
    except ImportError:
        raise
    except Exception as error:
        raise CannotStartError(f"uvicorn's options: {_unreadable(options) or _one_line(error)}") from error
    if issubclass(config.lifespan_class, LifespanOn):
        config.lifespan_class = _Lifespan
    return config


def _unreadable(options: dict[str, Any]) -> str | None:
    """Which of the files for TLS can't be read, and why. OpenSSL's error does not say."""
    for option in _FILES:
        if path := options.get(option):
            try:
                os.close(os.open(path, os.O_RDONLY))
            except OSError as error:
                return f"{option}: {error.strerror}: {path!r}"
    return None


def _one_line(error: BaseException) -> str:
    return f"{type(error).__qualname__}: {error}".partition("\n")[0]


class _Server(uvicorn.Server):
    """A uvicorn server that serves at any number of addresses, all of them shared ports."""

    def __init__(self, config: uvicorn.Config, addresses: Sequence[BindAddress]) -> None:
        super().__init__(config)
        self._addresses = addresses
        self._limit = config.limit_max_requests
        if self._limit is not None:  # else uvicorn ends before there is another worker
            self._limit += random.randint(0, getattr(config, "limit_max_requests_jitter", 0))
            config.limit_max_requests = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])  # the lifespan, and no address: uvicorn itself has room for one only
        config = self.config
        protocol: Callable[..., asyncio.Protocol] = config.http_protocol_class
        factory = partial(protocol, config=config, server_state=self.server_state, app_state=self.lifespan.state)
        try:
            servers: list[Any] = await open_all(self._addresses, factory, tls=config.ssl, backlog=config.backlog)
        except BaseException:
            await self.lifespan.shutdown()
            raise
        self.servers = servers

    async def on_tick(self, counter: int) -> bool:
        served = self.server_state.total_requests
        if self._limit is not None and served >= self._limit:
            current_session().tell(Spent(f"it has served {served} requests (limit_max_requests {self._limit})"))
            self._limit = None
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        leaving = current_session().leaving
        if leaving is not None and self.config.timeout_graceful_shutdown is None:
            # Else uvicorn waits for the last request, and its lifespan is cancelled when the time is over.
            left = leaving.seconds_left
            for_requests = left - min(left / 2, max(_FOR_LIFESPAN, left / 10))
            self.config.timeout_graceful_shutdown = for_requests  # type: ignore[assignment]
        await super().shutdown(sockets)


class _Lifespan(LifespanOn):
    """uvicorn's lifespan, but a failed startup is raised. So it is told once, and not by each worker."""

    async def startup(self) -> None:
        app = self.config.loaded_app
        heard = _Heard(app, must_start=self.config.lifespan == "on")
        self.config.loaded_app = heard
        try:
            await super().startup()  # it waits until the app, in a task of its own, has answered
        finally:
            self.config.loaded_app = app
        if self.should_exit:
            raise CannotStartError(f"the app's startup has failed: {heard.why}") from heard.error


class _Heard:
    """An app in its lifespan, that hears why its startup fails.

    Args:
        app: The app.
        must_start: Whether its startup fails if it raises before it has answered; else it has no lifespan.
    """

    def __init__(self, app: Any, *, must_start: bool) -> None:
        self._app = app
        self._must_start = must_start
        self._text = ""
        self._has_answered = False
        self.error: BaseException | None = None

    @property
    def why(self) -> str:
        if self.error is not None:
            return _one_line(self.error)
        return self._text.strip().rpartition("\n")[2] or "it gives no reason"

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def hear(message: Any) -> None:
            self._has_answered = True
            if message["type"] == "lifespan.startup.failed":
                self._text = message.get("message", "")
                message = {"type": "lifespan.startup.failed"}  # uvicorn would log the traceback
            await send(message)

        try:
            await self._app(scope, receive, hear)
        except BaseException as error:
            self.error = error
            if self._must_start and not self._has_answered:
                await send({"type": "lifespan.startup.failed"})  # else uvicorn would log the traceback
            raise
