"""What a connection's first bytes say about its first request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster.scheduling._first_bytes import Peek, request_target


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", b"/"),
        (b"GET / HTTP/1.", b"/"),
        (b"\r\nOPTIONS * HTTP/1.1\r\n", b"*"),
        (b"GET /a?b=%20c HTTP/1.0\r\n\r\n", b"/a?b=%20c"),
        ("GET /ü HTTP/1.1".encode(), "/ü".encode()),
        (b"GET http://example.org HTTP/1.1\r\n", b"/"),
        (b"GET http://example.org?q HTTP/1.1\r\n", b"/?q"),
        (b"GET HTTPS://u@[::1]:80/a//b HTTP/1.1\r\n", b"/a//b"),
        (b"CONNECT example.org:443 HTTP/1.1\r\n", b"example.org:443"),
        (b"", Peek.NEED_MORE),
        (b"\r\n", Peek.NEED_MORE),
        (b"GE", Peek.NEED_MORE),
        (b"GET ", Peek.NEED_MORE),
        (b"GET /index", Peek.NEED_MORE),
        (b"GET /index ", Peek.NEED_MORE),
        (b"GET /index HTTP/1", Peek.NEED_MORE),
        (b"X / HTTP/1.1\r\n", b"/"),
        (b" GET / HTTP/1.1\r\n", Peek.NOT_HTTP),
        (b"\tGET / HTTP/1.1\r\n", Peek.NOT_HTTP),
        (b"GET  / HTTP/1.1\r\n", Peek.NOT_HTTP),
        (b"GET /\r\n", Peek.NOT_HTTP),
        (b"GET / HTTP/2", Peek.NOT_HTTP),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Peek.NOT_HTTP),
        (b"\x16\x03\x01\x00\xa5", Peek.NOT_HTTP),
        (b"EHLO example.org\r\n", Peek.NOT_HTTP),
        (b"A" * 33, Peek.NOT_HTTP),
    ],
)
def test_request_targets(first: bytes, expected: bytes | Peek) -> None:
    assert request_target(first) == expected


@given(st.binary(max_size=80) | st.from_regex(rb"[A-Z]{1,5} /[a-z]{0,9} HTTP/1\.1\r\n.*", fullmatch=True))
def test_more_bytes_never_take_back_what_was_known(data: bytes) -> None:
    known: bytes | Peek = Peek.NEED_MORE
    for end in range(len(data) + 1):
        found = request_target(data[:end])
        assert known in (Peek.NEED_MORE, found)
        known = found
