"""Where to listen, as text."""

from __future__ import annotations

import pytest

from aiocluster._listen_text import ListenText, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9000", ListenText("127.0.0.1", 9000)),
        ("localhost:0", ListenText("localhost", 0)),
        (":9000", ListenText("0.0.0.0", 9000)),
        ("[::1]:9000", ListenText("::1", 9000)),
        ("unix:/run/app.sock", ListenText(path="/run/app.sock")),
    ],
)
def test_what_it_means(text: str, expected: ListenText) -> None:
    assert parse("health", text) == expected
    assert parse("health", str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "9000", "127.0.0.1", "::1:9000", "host:", "host:-1", "host: 1", "host:1.5", "host:١", "unix:", "a/b:1"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'^health must be "host:port", '):
        parse("health", text)


def test_ports_have_a_range() -> None:
    with pytest.raises(ValueError, match=r"^health: the port must be within 0-65535, not 65536$"):
        parse("health", "127.0.0.1:65536")


def test_a_number_is_no_text() -> None:
    with pytest.raises(TypeError, match=r"^health must be .* not 9000$"):
        parse("health", 9000)
