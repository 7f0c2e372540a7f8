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
_BEFORE = rb"^([^\s][^\r\n]{0,200}?[ \t:])?"  # what a log writes in front of a message, as in ``ERROR:    Traceback``
_TRACEBACK = re.compile(_BEFORE + rb"(" + _ONE + rb"(?:" + _LINK + _ONE + rb")*)", re.MULTILINE)
_BEGINNING = re.compile(_BEFORE + rb"(?:  \+ Exception Group )?" + _HEAD, re.MULTILINE)
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
        return _TRACEBACK.sub(lambda found: self._shown_once(found, shown), text)

    def forget(self) -> None:
        """Has each shown once more."""
        with self._lock:
            self._counts.clear()

    def split(self, text: bytes) -> list[tuple[bool, bytes]]:
        """Returns the parts of a text, each with whether it is a traceback, or the line in place of one."""
        if _MARK not in text:
            return [(False, text)]
        parts, end = [], 0
        for found in _TRACEBACK.finditer(text):
            parts += [(False, text[end : found.start()]), (True, self._shown_once(found, bytes))]
            end = found.end()
        return [(is_traceback, part) for is_traceback, part in [*parts, (False, text[end:])] if part]

    def _shown_once(self, found: re.Match[bytes], shown: Callable[[bytes], bytes]) -> bytes:
        before, traceback = found[1] or b"", found[2]
        count = self._count(traceback)
        if count == 1:
            return shown(found[0])
        last = next(
            (line for line in reversed(traceback.splitlines()) if line[:1] not in (b" ", b"\t", b"")),
            b"Exception Group",
        )
        return before + last + b": the same again (%d \xc3\x97)\n" % count

    def _count(self, traceback: bytes) -> int:
        key = hashlib.blake2b(_VARYING.sub(b"", traceback), digest_size=16).digest()
        with self._lock:
            count = self._counts[key] = self._counts.pop(key, 0) + 1
            if len(self._counts) > _REMEMBERED:
                self._counts.popitem(last=False)
        return count


def settled(lines: bytes) -> tuple[int, bool]:
    """Returns where, in these whole lines, a traceback begins that may go on; else their length.

    And whether it may also be whole as it is: only the exception that came of this one could follow.
    """
    if _MARK not in lines:
        return len(lines), True
    start = lines.rfind(_MARK)
    start = lines.rfind(b"\n", 0, start) + 1
    if _BEGINNING.match(lines, start) is None:
        return len(lines), True
    end = 0
    for found in _TRACEBACK.finditer(lines):
        end = found.end()
        rest = lines[end:].lstrip(b"\r\n")
        if not rest or rest.startswith(_LINKS):
            return found.start(), not rest
    return (start, False) if start >= end else (len(lines), True)
