"""What of a traceback is the application's own."""

from __future__ import annotations

from types import TracebackType

_PACKAGE = __name__.partition(".")[0]
_BEFORE = frozenset({_PACKAGE, "importlib", "runpy", "asyncio", "uvloop"})


def own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Returns the traceback from the application's first frame on, without those that led there.

    It is None if the application has no frame, as with a syntax error. What this package itself has raised outside the
    application is returned whole.
    """
    rest = trace
    while rest is not None and _is_before(rest):
        if rest.tb_next is None and _module(rest) == _PACKAGE:
            return trace
        rest = rest.tb_next
    return rest


def _is_before(trace: TracebackType) -> bool:
    return _module(trace) in _BEFORE or trace.tb_frame.f_code.co_filename.startswith("<frozen ")


def _module(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
