"""From the head of an HTTP/1 request to the bytes of its response. Sans-I/O.

Enough of RFC 9112 for what asks whether a cluster is well: GET and HEAD of a few pages, one request per connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus

MAX_HEAD = 8192
"""Bytes of a request's head, of which a client may send no more: what it sends is kept in memory."""

Page = Callable[[], tuple[HTTPStatus, str]]
"""Returns the status and the text of a page, as they are now."""

_END = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (?:[Hh][Tt][Tt][Pp]://[^/?\s]*)?(/[^?\s]*)(?:\?\S*)? HTTP/1\.[01]")


class Request:
    """One request, as its bytes arrive."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self._received = bytearray()

    def receive(self, data: bytes) -> bytes | None:
        """Returns the response once it is decided; None while more must come."""
        self._received += data
        head = bytes(self._received).lstrip(b"\r\n")  # RFC 9112, 2.2: empty lines before the request are ignored
        if end := _END.search(head, 0, MAX_HEAD):
            return _answer(head[: end.start()], self._pages)
        if len(self._received) >= MAX_HEAD:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return None


def _answer(head: bytes, pages: Mapping[str, Page]) -> bytes:
    found = _LINE.fullmatch(head.splitlines()[0]) if head else None
    if found is None:
        return _response(HTTPStatus.BAD_REQUEST)
    method, path = found[1], found[2].decode("latin-1")
    if path not in pages:
        return _response(HTTPStatus.NOT_FOUND, f"there are {', '.join(pages)}", is_head=method == b"HEAD")
    if method not in (b"GET", b"HEAD"):
        return _response(HTTPStatus.METHOD_NOT_ALLOWED, headers="Allow: GET, HEAD\r\n")
    return _response(*pages[path](), is_head=method == b"HEAD")


def _response(status: HTTPStatus, text: str = "", *, headers: str = "", is_head: bool = False) -> bytes:
    body = f"{text or status.phrase}\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{headers}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if is_head else body)
