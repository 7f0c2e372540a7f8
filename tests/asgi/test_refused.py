"""Apps that can't be served, and what is none: one line that says why, and how the command is to end."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from aiocluster import Cluster, StartupError, TargetError
from aiocluster.integrations.asgi import AsgiApp

HERE = "tests.asgi.inside_apps"
LOCAL = ["127.0.0.1:0"]


async def refused(target: Any, *, workers: int = 1, **settings: Any) -> Exception:
    """What a cluster raises that can't start with this target."""
    with pytest.raises((StartupError, TargetError)) as caught:
        async with Cluster(target, workers=workers, **settings) as cluster:
            await cluster.serve_forever()
    assert "\n" not in str(caught.value), "it is one line"
    return caught.value


@pytest.mark.parametrize(
    ("target", "method", "text"),
    [
        (f"{HERE}:wsgi", "spawn", "wsgi is a WSGI app (tests.asgi.inside_apps.Wsgi), and workers serve ASGI: wrap it"),
        (AsgiApp(f"{HERE}:wsgi"), "template", "wsgi is a WSGI app"),
        (AsgiApp(f"{HERE}:create"), "spawn", "create takes no parameters, so it is no ASGI app"),
        (f"{HERE}:create", "template", "create has returned an ASGI app (a function): have it served with --factory"),
        (AsgiApp(f"{HERE}:number"), "spawn", "number is no ASGI app, but builtins.int"),
        (AsgiApp(f"{HERE}:app", factory=True), "template", "app is no factory"),
    ],
)
async def test_what_is_no_app(target: Any, method: Any, text: str) -> None:
    error = await refused(target, start_method=method)
    assert isinstance(error, TargetError)
    assert f"{HERE}:{text}" in str(error)


@pytest.mark.parametrize(
    "target",
    [
        f"{HERE}:without_database",  # no lifespan would run if it were not recognized as an app
        AsgiApp(f"{HERE}:raising_at_once", uvicorn={"lifespan": "on"}),
    ],
)
async def test_an_app_whose_startup_fails(
    target: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    error = await refused(target, workers=2)
    assert isinstance(error, StartupError)
    assert str(error).endswith("can't start: the app's startup has failed: LookupError: no database")
    assert caplog.text.count("\nLookupError: no database\n") == 1, "the traceback is told once"
    assert caplog.text.count("Traceback") == 1, "and no other"
    assert "/aiocluster/_" not in caplog.text
    assert "/uvicorn/" not in caplog.text
    assert capfd.readouterr().err == "", "by the primary alone"


async def test_an_app_that_only_says_that_its_startup_fails(caplog: pytest.LogCaptureFixture) -> None:
    error = await refused(f"{HERE}:that_gives_up")
    assert str(error).endswith("can't start: the app's startup has failed: the disk is full")
    assert "Traceback" not in caplog.text


async def test_a_name_that_only_the_import_could_show() -> None:
    error = await refused("tests.asgi.inside_dynamic:ap")
    assert isinstance(error, TargetError)
    assert str(error) == "tests.asgi.inside_dynamic defines no 'ap'"


async def test_uvicorn_is_missing() -> None:
    error = await refused(AsgiApp(f"{HERE}:app"), preload=["tests.asgi.inside_without_uvicorn"])
    assert isinstance(error, StartupError)
    assert "pip install aiocluster[web]" in str(error)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ssl_certfile": "none.pem"}, "ssl_certfile: No such file or directory: 'none.pem'"),
        ({"lifespan": "of"}, "uvicorn's options: KeyError: 'of'"),
    ],
)
async def test_options_that_uvicorn_refuses(options: dict[str, Any], text: str) -> None:
    error = await refused(AsgiApp(f"{HERE}:app", bind=LOCAL, uvicorn=options))
    assert isinstance(error, StartupError)
    assert text in str(error)


@pytest.mark.parametrize("where", ["unix:/proc/none/app.sock", "192.0.2.1:0", "fd://9999"])
async def test_addresses_that_can_not_be_opened(where: str, tmp_path: Any) -> None:
    # The first address is closed again, and the app's lifespan ends.
    error = await refused(AsgiApp(f"{HERE}:app", bind=[*LOCAL, where]), env={"ENDED_IN": str(tmp_path / "ended")})
    assert isinstance(error, StartupError)
    assert "can't listen on" in str(error)
    assert (tmp_path / "ended").exists()


async def test_an_address_in_use(tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        app = AsgiApp(f"{HERE}:app", uvicorn={"port": port})
        error = await refused(app, env={"ENDED_IN": str(tmp_path / "ended")})
    assert isinstance(error, StartupError)
    assert f"('127.0.0.1', {port})" in str(error)
    assert "in use" in str(error)
