"""Requests to the health pages: bytes in, bytes out."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster._supervise.http_answer import MAX_HEAD, AnyPage, Asked, Content, Request

PAGES: dict[str, AnyPage] = {
    "/live": lambda: (HTTPStatus.OK, "alive"),
    "/ready": lambda: (HTTPStatus.SERVICE_UNAVAILABLE, "stopping"),
}


def answer(request: bytes) -> tuple[int, bytes, bytes]:
    """Returns the status, the head and the body."""
    response = Request(PAGES).receive(request)
    assert isinstance(response, bytes)
    head, end, body = response.partition(b"\r\n\r\n")
    assert end
    assert head.startswith(b"HTTP/1.1 ")
    return int(head.split()[1]), head, body


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /live HTTP/1.1", 200),
        (b"GET /live HTTP/1.0", 200),
        (b"GET /live?verbose=1 HTTP/1.1", 200),
        (b"GET http://127.0.0.1:9000/live HTTP/1.1", 200),
        (b"\r\n\r\nGET /live HTTP/1.1", 200),
        (b"GET /ready HTTP/1.1", 503),
        (b"GET / HTTP/1.1", 404),
        (b"GET //live HTTP/1.1", 404),
        (b"GET /live/ HTTP/1.1", 404),
        (b"GET /LIVE HTTP/1.1", 404),
        (b"POST /live HTTP/1.1", 405),
        (b"OPTIONS /live HTTP/1.1", 405),
        (b"get /live HTTP/1.1", 405),
        (b"POST /nowhere HTTP/1.1", 404),
        (b"GET /live", 400),
        (b"GET /live HTTP/2.0", 400),
        (b"GET  /live HTTP/1.1", 400),
        (b"GET live HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
        (b"PRI * HTTP/2.0", 400),
    ],
)
def test_status(line: bytes, status: int) -> None:
    assert answer(line + b"\r\nHost: test\r\n\r\n")[0] == status


def test_a_page() -> None:
    status, head, body = answer(b"GET /ready HTTP/1.1\r\nHost: test\r\n\r\n")
    assert (status, body) == (503, b"stopping\n")
    assert b"\r\nContent-Length: 9\r\n" in head
    assert b"\r\nCache-Control: no-store\r\n" in head
    assert b"\r\nConnection: close" in head


def test_head_has_no_body() -> None:
    whole = answer(b"GET /live HTTP/1.1\r\n\r\n")
    status, head, body = answer(b"HEAD /live HTTP/1.1\r\n\r\n")
    assert (status, head, body) == (200, whole[1], b"")


def test_what_may_be_asked_is_said() -> None:
    assert answer(b"GET /health HTTP/1.1\r\n\r\n")[2] == b"there are /live, /ready\n"
    assert b"\r\nAllow: GET, HEAD\r\n" in answer(b"PUT /live HTTP/1.1\r\n\r\n")[1]


def test_byte_by_byte() -> None:
    request = Request(PAGES)
    whole = b"GET /live HTTP/1.1\nHost: test\n\n"
    answers = [request.receive(bytes([byte])) for byte in whole]
    assert answers[:-1] == [None] * (len(whole) - 1)
    assert answers[-1] is not None


def test_a_head_has_a_limit() -> None:
    request = Request(PAGES)
    assert request.receive(b"GET /live HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD - 100)) is None
    response = request.receive(b"x" * 100)
    assert isinstance(response, bytes)
    assert response.startswith(b"HTTP/1.1 431 ")


@given(st.lists(st.binary(max_size=200), max_size=100))
def test_any_bytes_are_answered_or_waited_for(pieces: list[bytes]) -> None:
    request = Request(PAGES)
    received = 0
    for piece in pieces:
        received += len(piece)
        response = request.receive(piece)
        if response is not None:
            assert isinstance(response, bytes)
            assert response.startswith(b"HTTP/1.1 ")
            return
        assert received < MAX_HEAD


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_page_that_takes_a_while(method: bytes) -> None:
    async def metrics(accept: str) -> Content:
        return Content(HTTPStatus.OK, "text/metrics", accept.encode())

    asked = Request({"/metrics": metrics}).receive(method + b" /metrics HTTP/1.1\r\naccept: a\r\nAccept:b;q=1\r\n\r\n")
    assert isinstance(asked, Asked)
    head, _, body = asked.response(await asked.page(asked.accept)).partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: text/metrics\r\nContent-Length: 7\r\n" in head
    assert body == (b"a,b;q=1" if method == b"GET" else b"")
