"""A cluster whose Redis can't be had: one clear error, without the password."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiocluster import BackplaneError, Cluster, StartupError
from tests.support.redis import RedisServer, started

from .inside import stay

SECRET = "hunter2"


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    with started("--requirepass", "right") as server:
        server.ask(
            "ACL", "SETUSER", "reader", "on", f">{SECRET}", "~*", "&*", "+@read", "+@connection", password="right"
        )
        yield server


async def refused(url: str, caplog: pytest.LogCaptureFixture, **settings: float) -> str:
    """The text of what entering the cluster raises, which shows the password nowhere."""
    caplog.set_level(logging.DEBUG)
    cluster = Cluster(stay, workers=1, state=url, **settings)  # type: ignore[arg-type]
    with pytest.raises(StartupError) as caught:
        async with cluster:
            pass
    error = caught.value
    assert isinstance(error, BackplaneError)
    shown = [repr(error), repr(error.__cause__), repr(cluster), repr(cluster.primary), repr(cluster.primary.settings)]
    assert not any(SECRET in text for text in [*shown, caplog.text])
    text = str(error)
    assert "\n" not in text
    return text


async def test_what_a_redis_refuses(guarded: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    place = f"127.0.0.1:{guarded.port}"
    for credentials, what in (
        (f":{SECRET}", "refuses the user or the password"),
        (f"nobody:{SECRET}", "refuses the user or the password"),
        (f"reader:{SECRET}", "does not permit that to this user"),
    ):
        shown = credentials.replace(SECRET, "***")
        assert f"redis://{shown}@{place} {what}" in await refused(f"redis://{credentials}@{place}", caplog)
    assert "db 99" not in await refused(f"redis://:right@{place}/99", caplog)


async def test_no_server(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    text = await refused(f"unix://:{SECRET}@{tmp_path}/none", caplog)
    assert f"unix://:***@{tmp_path}/none can't be reached" in text
    with socket.create_server(("127.0.0.1", 0)) as silent:  # where nobody answers
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        text = await refused(f"redis://:{SECRET}@{place}", caplog, start_timeout=0.2)
        assert "within 0.2 seconds (start_timeout)" in text
        text = await refused(f"redis://:{SECRET}@{place}?socket_timeout=0.2", caplog)
        assert f"redis://:***@{place}?socket_timeout=0.2 does not answer: no connection within 0.2 s" in text


async def test_no_such_url(caplog: pytest.LogCaptureFixture) -> None:
    for url, what in (
        (f"redi://:{SECRET}@host", "'redi://:***@host' is no URL of a state: there is no scheme 'redi'"),
        (f"redis://:{SECRET}/@host", "write '@' as %40"),
        (f"redis://:{SECRET}@host:port", "'redis://:***@host:port' is not the URL of a Redis: it must have a host"),
        (f"mysql://u:{SECRET}@host/db?password={SECRET}", "'mysql://u:***@host/db?password=***'"),
    ):
        assert what in await refused(url, caplog)
