"""Parses the first request line from a connection's first bytes (RFC 9112)."""

from __future__ import annotations

import re
from enum import Enum


class Peek(Enum):
    """Why there is no request target."""

    NEED_MORE = "it may be HTTP/1, and there is more to come"
    NOT_HTTP = "it is not HTTP/1, whatever follows"


_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")  # RFC 9110, 5.6.2; the longest registered has 17
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")  # no white space, no controls; servers take more than RFC 3986 allows
_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://[^/?]*")
_VERSION = b"HTTP/1."


def request_target(first: bytes) -> bytes | Peek:
    """The target of the request line that these bytes begin with, or why there is none.

    If the target has the absolute form that proxies use (RFC 9112, 3.2.2), only the part after the authority is
    returned. So the same resource has the same target in both forms.

    Args:
        first: A connection's first bytes so far. Empty lines before the request line are skipped (RFC 9112, 2.2).
    """
    line = first.lstrip(b"\r\n")
    if not line:
        return Peek.NEED_MORE
    method, has_method, rest = line.partition(b" ")
    if not _METHOD.fullmatch(method):
        return Peek.NOT_HTTP
    target, has_target, version = rest.partition(b" ")
    if not has_method or not (target or has_target):
        return Peek.NEED_MORE
    if not _TARGET.fullmatch(target):
        return Peek.NOT_HTTP
    if not has_target or (len(version) < len(_VERSION) and _VERSION.startswith(version)):
        return Peek.NEED_MORE
    if not version.startswith(_VERSION):
        return Peek.NOT_HTTP
    if authority := _AUTHORITY.match(target):
        target = target[authority.end() :]
        return target if target.startswith(b"/") else b"/" + target
    return target
