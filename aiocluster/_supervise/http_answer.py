"""From the head of an HTTP/1 request to the bytes of its response. Sans-I/O.

Enough of RFC 9112 for what asks how a cluster is: GET and HEAD of a few pages, one request per connection.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, TypeAlias, cast

MAX_HEAD = 8192
"""Bytes of a request's head, of which a client may send no more: what it sends is kept in memory."""

Page: TypeAlias = Callable[[], tuple[HTTPStatus, str]]
"""Returns the status and the text of a page, as they are now."""

SlowPage: TypeAlias = Callable[[str], Awaitable["Content"]]
"""Makes a page that takes a while, given the value of the request's header ``Accept``. It is an async function."""

AnyPage: TypeAlias = Page | SlowPage

_TEXT = "text/plain; charset=utf-8"


class Content(NamedTuple):
    """A page: its status, its content type, and its bytes."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Asked(NamedTuple):
    """A request whose page takes a while."""

    page: SlowPage
    accept: str
    is_head: bool

    def response(self, content: Content) -> bytes:
        """The response, once the page is there."""
        return _message(content, is_head=self.is_head)


_END = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (?:[Hh][Tt][Tt][Pp]://[^/?\s]*)?(/[^?\s]*)(?:\?\S*)? HTTP/1\.[01]")


class Request:
    """One request, as its bytes arrive."""

    def __init__(self, pages: Mapping[str, AnyPage]) -> None:
        self._pages = pages
        self._received = bytearray()

    def receive(self, data: bytes) -> bytes | Asked | None:
        """Returns the response once it is decided, or the page that is to be made; None while more must come."""
        self._received += data
        head = bytes(self._received).lstrip(b"\r\n")  # RFC 9112, 2.2: empty lines before the request are ignored
        if end := _END.search(head, 0, MAX_HEAD):
            return _answer(head[: end.start()], self._pages)
        if len(self._received) >= MAX_HEAD:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return None


def _answer(head: bytes, pages: Mapping[str, AnyPage]) -> bytes | Asked:
    found = _LINE.fullmatch(head.splitlines()[0]) if head else None
    if found is None:
        return _response(HTTPStatus.BAD_REQUEST)
    method, path = found[1], found[2].decode("latin-1")
    if path not in pages:
        return _response(HTTPStatus.NOT_FOUND, f"there are {', '.join(pages)}", is_head=method == b"HEAD")
    if method not in (b"GET", b"HEAD"):
        return _response(HTTPStatus.METHOD_NOT_ALLOWED, headers="Allow: GET, HEAD\r\n")
    page = pages[path]
    if inspect.iscoroutinefunction(page):
        return Asked(page, _accept(head), method == b"HEAD")
    status, text = cast(Page, page)()
    return _response(status, text, is_head=method == b"HEAD")


def _accept(head: bytes) -> str:
    """The value of the header ``Accept``: of several, as one list (RFC 9110, 5.3)."""
    values = [
        value.strip().decode("latin-1")
        for name, _, value in (line.partition(b":") for line in head.splitlines()[1:])
        if name.lower() == b"accept"
    ]
    return ",".join(values)


def _response(status: HTTPStatus, text: str = "", *, headers: str = "", is_head: bool = False) -> bytes:
    content = Content(status, _TEXT, f"{text or status.phrase}\n".encode())
    return _message(content, headers=headers, is_head=is_head)


def _message(content: Content, *, headers: str = "", is_head: bool = False) -> bytes:
    status, content_type, body = content
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{headers}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if is_head else body)
