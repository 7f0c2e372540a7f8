"""ASGI apps as targets: `AsgiApp` says how one is served, by uvicorn, in each worker. Needs the extra ``web``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .._bind import DEFAULT, BindAddress, parse_bind, port_of
from .._checks import sequence, whole_number, without_nul
from .._did_you_mean import did_you_mean

_MODE = 0o666  # what uvicorn gives the file of a Unix socket

_ELSEWHERE: Mapping[str, str] = {
    "app": "it is the first argument of AsgiApp",
    "factory": "AsgiApp(factory=True) does it",
    "uds": "AsgiApp(uds=…) does it",
    "fd": "AsgiApp(fd=…) does it",
    "workers": "the cluster's setting workers does it",
    "loop": "the setting loop does it",
    "env_file": "the setting env does it",
    "reload": "the setting reload_on_change does it",
    "reload_dirs": "the setting reload_on_change does it",
    "reload_includes": "the setting reload_on_change does it",
    "reload_excludes": "the setting reload_on_change does it",
    "reload_delay": "the setting reload_on_change does it",
    "timeout_worker_healthcheck": "the setting hang_timeout does it",
}
"""Options of uvicorn's that have another place here."""


@dataclass(frozen=True, slots=True)
class AsgiApp:
    """An ASGI app as the target of a `Cluster` or a `Primary`: each worker imports it and serves it with uvicorn.

    HTTP, WebSocket and lifespan are uvicorn's. The addresses are shared ports, as for any other target. Those of
    ``bind``, of ``host`` and ``port`` in ``uvicorn``, of ``uds`` and of ``fd`` are all served; without any,
    ``127.0.0.1:8000`` is.

    Attributes:
        app: ``"package.module:name"``.
        factory: Whether it is a function without parameters that returns the app.
        bind: Addresses: ``"HOST:PORT"`` (port 0: a free one), ``"[::]:PORT"`` or ``":PORT"`` for all interfaces of both
            families, ``"unix:PATH"``, ``"fd://NUMBER"``.
        uds: The path of a Unix socket. Workers bind it, so its file is their user's.
        uds_mode: The permissions of the files of Unix sockets. None: ``0o666``, as uvicorn has it.
        fd: A listening socket that the *primary* has open, such as one from systemd or from a process that started it.
        uvicorn: Options of `uvicorn.Config` by name, such as ``{"ssl_certfile": "cert.pem", "root_path": "/api"}``.
            Values are what a message can carry (text, numbers, lists, …), or paths. Relative paths are the worker's.

    Raises:
        ValueError: uvicorn has no such option, or it has another place here; an address is none; a number is out of
            range. The text names it.
        TypeError: A value is of the wrong type. The text names it.
    """

    app: str
    factory: bool = field(default=False, kw_only=True)
    bind: Sequence[str] = field(default=(), kw_only=True)
    uds: str | os.PathLike[str] | None = field(default=None, kw_only=True)
    uds_mode: int | None = field(default=None, kw_only=True)
    fd: int | None = field(default=None, kw_only=True)
    uvicorn: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.app, str):
            raise TypeError(f'app must be "package.module:name", not {self.app!r}')
        if not isinstance(self.factory, bool):
            raise TypeError(f"factory must be True or False, not {self.factory!r}")
        object.__setattr__(self, "bind", sequence("bind", self.bind, (str,), "addresses"))
        if self.uds is not None:
            if not isinstance(self.uds, (str, os.PathLike)):
                raise TypeError(f"uds must be a path, not {self.uds!r}")
            without_nul("uds", os.fspath(self.uds))
        if self.uds_mode is not None and whole_number("uds_mode", self.uds_mode, at_least=0) > 0o7777:
            raise ValueError(f"uds_mode must be permissions such as 0o660, not {self.uds_mode:#o}")
        if self.fd is not None:
            whole_number("fd", self.fd, at_least=0)
        object.__setattr__(self, "uvicorn", MappingProxyType(_options(self.uvicorn)))
        self._addresses()

    def _addresses(self) -> list[BindAddress]:
        """Returns where it is served."""
        mode = _MODE if self.uds_mode is None else self.uds_mode
        found = [parse_bind("bind", text, mode) for text in self.bind]
        if "host" in self.uvicorn or "port" in self.uvicorn:
            found.append(BindAddress(self.uvicorn.get("host", DEFAULT.host), self.uvicorn.get("port", DEFAULT.port)))
        if self.uds is not None:
            found.append(BindAddress(path=os.fspath(self.uds), mode=mode))
        if self.fd is not None:
            found.append(BindAddress(fd=self.fd))
        return found or [DEFAULT]

    def _uvicorn_options(self) -> dict[str, Any]:
        """Returns uvicorn's options, without host and port."""
        return {name: value for name, value in self.uvicorn.items() if name not in ("host", "port")}


def _options(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"uvicorn must be a mapping of uvicorn's options by name, not {given!r}")
    known = _names()
    for name in given:
        if name in _ELSEWHERE:
            raise ValueError(f"uvicorn: {name!r} is no option here: {_ELSEWHERE[name]}")
        if known and name not in known:
            raise ValueError(f"uvicorn has no option {name!r}{did_you_mean(name, known - _ELSEWHERE.keys())}")
    options = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in given.items()}
    if not isinstance(options.get("host", ""), str):
        raise TypeError(f"uvicorn: host must be str, not {options['host']!r}")
    if "port" in options:
        port_of("uvicorn: port", whole_number("uvicorn: port", options["port"], at_least=0))
    if options.get("ssl_keyfile") and not options.get("ssl_certfile"):
        raise ValueError("uvicorn: ssl_keyfile needs ssl_certfile, too")
    return options


def _names() -> set[str]:
    """Returns the names of uvicorn's options; none where it is not installed, which each worker says."""
    import inspect

    try:
        from uvicorn import Config
    except ImportError:
        return set()
    return set(inspect.signature(Config).parameters)
