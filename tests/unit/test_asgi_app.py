"""What an ASGI app is, and how its addresses and options are given."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Cluster, TargetError
from aiocluster._bind import DEFAULT, BindAddress
from aiocluster._worker.asgi.recognize import is_asgi, refuse_wsgi
from aiocluster.integrations.asgi import AsgiApp

APP = "tests.asgi.inside_apps:app"


async def application(scope: Any, receive: Any, send: Any) -> None: ...


class Application:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Endpoint:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any: ...


@pytest.mark.parametrize(
    "app", [application, Application(), Endpoint, functools.partial(application), Application().__call__]
)
def test_apps(app: Any) -> None:
    assert is_asgi(app)
    refuse_wsgi(app, "app")


class Three:
    def __init__(self, first: Any, second: Any, third: Any) -> None: ...


@pytest.mark.parametrize(
    "other",
    [
        lambda: None,
        lambda first, second: None,
        lambda first, second, third=None: None,
        lambda *args: None,
        lambda first, second, third, *, more: None,
        Three,
        print,
        "text",
        None,
    ],
)
def test_others(other: Any) -> None:
    assert not is_asgi(other)


async def add(first: Any, second: Any) -> None: ...


@pytest.mark.parametrize("other", [lambda: None, lambda first: None, lambda *args: None, add, print, "text", Path])
def test_no_wsgi_app(other: Any) -> None:
    refuse_wsgi(other, "other")


def test_a_wsgi_app() -> None:
    with pytest.raises(TargetError, match=r"^shop:app takes two parameters, as a WSGI app does"):
        refuse_wsgi(lambda environ, start_response: None, "shop:app")


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({}, [DEFAULT]),
        ({"uvicorn": {"port": 0}}, [BindAddress(DEFAULT.host, 0)]),
        ({"uvicorn": {"host": "::1"}}, [BindAddress("::1", DEFAULT.port)]),
        ({"bind": ["[::]:80", ":80", "shop:0"]}, [BindAddress("::", 80), BindAddress("", 80), BindAddress("shop", 0)]),
        ({"bind": ["unix:a:1", "fd://3"]}, [BindAddress(path="a:1", mode=0o666), BindAddress(fd=3)]),
        ({"bind": ["unix:///run/a"], "uds_mode": 0o600}, [BindAddress(path="/run/a", mode=0o600)]),
        ({"uds": Path("b"), "fd": 4}, [BindAddress(path="b", mode=0o666), BindAddress(fd=4)]),
    ],
)
def test_addresses(settings: dict[str, Any], addresses: list[BindAddress]) -> None:
    assert AsgiApp(APP, **settings)._addresses() == addresses


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"bind": "127.0.0.1:80"}, TypeError("bind must be a sequence of addresses, not '127.0.0.1:80'")),
        (
            {"bind": ["8000"]},
            ValueError("bind must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not '8000'"),
        ),
        ({"bind": ["::1:80"]}, ValueError("bind: an IPv6 address stands in brackets, as in [::1]:8000, not '::1:80'")),
        ({"bind": ["a:65536"]}, ValueError("bind: a port is a number from 0 to 65535, not 65536")),
        ({"bind": ["unix:"]}, ValueError("bind: 'unix:' names no path")),
        ({"uds": 3}, TypeError("uds must be a path, not 3")),
        ({"uds_mode": "660"}, TypeError("uds_mode must be a whole number from 0 on, not '660'")),
        ({"uds_mode": 0o10000}, ValueError("uds_mode must be permissions such as 0o660, not 0o10000")),
        ({"fd": -1}, ValueError("fd must be a whole number from 0 on, not -1")),
        ({"factory": "yes"}, TypeError("factory must be True or False, not 'yes'")),
        ({"uvicorn": {"prot": 1}}, ValueError("uvicorn has no option 'prot'; did you mean 'port'?")),
        ({"uvicorn": {"port": "1"}}, TypeError("uvicorn: port must be a whole number from 0 on, not '1'")),
        ({"uvicorn": {"host": 1}}, TypeError("uvicorn: host must be str, not 1")),
        ({"uvicorn": {"ssl_keyfile": "key"}}, ValueError("uvicorn: ssl_keyfile needs ssl_certfile, too")),
        (
            {"uvicorn": {"workers": 4}},
            ValueError("uvicorn: 'workers' is no option here: the cluster's setting workers does it"),
        ),
    ],
)
def test_wrong_options_are_refused(settings: dict[str, Any], error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        AsgiApp(APP, **settings)
    assert str(caught.value) == str(error)


def test_an_option_that_can_not_be_sent() -> None:
    with pytest.raises(TypeError, match=r'^AsgiApp: uvicorn\["http"\]: type'):
        Cluster(AsgiApp(APP, uvicorn={"http": Application}))


@pytest.mark.parametrize("app", ["tests.asgi.inside_apps", "tests.asgi.none:app", "tests.asgi.inside_apps:none"])
def test_an_app_that_is_not_there(app: str) -> None:
    with pytest.raises(TargetError):
        Cluster(AsgiApp(app))
