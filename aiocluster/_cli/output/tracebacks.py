"""Tracebacks: found in a program's output, and shown once."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable

_HEAD = rb"Traceback \(most recent call last\):\r?\n"
_INDENTED = rb"(?:[ \t][^\n]*\n)"
_GROUP = rb"  \+ Exception Group " + _HEAD + _INDENTED + rb"+"
_ONE = rb"(?:" + _GROUP + rb"|" + _HEAD + _INDENTED + rb"*(?:[^\s][^\n]*\n)" + _INDENTED + rb"*)"
_LINKS = (
    b"During handling of the above exception, another exception occurred:",
    b"The above exception was the direct cause of the following exception:",
)
_LINK = rb"\r?\n(?:" + b"|".join(_LINKS) + rb")\r?\n\r?\n"
_TRACEBACK = re.compile(rb"^" + _ONE + rb"(?:" + _LINK + _ONE + rb")*", re.MULTILINE)
_BEGINNING = re.compile(rb"^(?:  \+ Exception Group )?" + _HEAD, re.MULTILINE)
_MARK = b"Traceback (most recent"
_VARYING = re.compile(rb"\x1b\[[0-9;]*m|0x[0-9a-fA-F]+|\r")
_REMEMBERED = 1000


class Tracebacks:
    """The tracebacks that have been shown. The last 1,000 different ones are remembered. Thread-safe."""

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def once(self, text: bytes, shown: Callable[[bytes], bytes] = bytes) -> bytes:
        """Returns the text with one line in place of each traceback that has been shown before.

        Args:
            text: Whole lines.
            shown: What becomes of a traceback that is shown.
        """
        if _MARK not in text:
            return text
        return _TRACEBACK.sub(lambda found: self._shown_once(found[0], shown), text)

    def split(self, text: bytes) -> list[tuple[bool, bytes]]:
        """Returns the parts of a text, each with whether it is a traceback, or the line in place of one."""
        if _MARK not in text:
            return [(False, text)]
        parts, end = [], 0
        for found in _TRACEBACK.finditer(text):
            parts += [(False, text[end : found.start()]), (True, self._shown_once(found[0], bytes))]
            end = found.end()
        return [(is_traceback, part) for is_traceback, part in [*parts, (False, text[end:])] if part]

    def _shown_once(self, traceback: bytes, shown: Callable[[bytes], bytes]) -> bytes:
        count = self._count(traceback)
        if count == 1:
            return shown(traceback)
        last = next(
            (line for line in reversed(traceback.splitlines()) if line[:1] not in (b" ", b"\t", b"")),
            b"Exception Group",
        )
        return last + b": the same again (%d \xc3\x97)\n" % count

    def _count(self, traceback: bytes) -> int:
        key = hashlib.blake2b(_VARYING.sub(b"", traceback), digest_size=16).digest()
        with self._lock:
            count = self._counts[key] = self._counts.pop(key, 0) + 1
            if len(self._counts) > _REMEMBERED:
                self._counts.popitem(last=False)
        return count


def settled(lines: bytes) -> int:
    """Returns where, in these whole lines, a traceback begins that may go on; else their length."""
    if _MARK not in lines:
        return len(lines)
    start = lines.rfind(_MARK)
    start = lines.rfind(b"\n", 0, start) + 1
    if _BEGINNING.match(lines, start) is None:
        return len(lines)
    end = 0
    for found in _TRACEBACK.finditer(lines):
        end = found.end()
        rest = lines[end:].lstrip(b"\r\n")
        if not rest or rest.startswith(_LINKS):
            return found.start()
    return start if start >= end else len(lines)
