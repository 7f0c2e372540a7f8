"""What of an uncaught exception is the application's own."""

from __future__ import annotations

from types import TracebackType

from .._wire.conversation import described_from
from .failure import CannotStartError

_PACKAGE = __name__.partition(".")[0]
_BEFORE = frozenset({_PACKAGE, "importlib", "runpy", "asyncio", "uvloop"})
_SERVER = _BEFORE | {"uvicorn"}


def described_as_own(error: BaseException) -> tuple[str, str, str]:
    """Returns the type, the text and the traceback of an exception, without what is this package's.

    A `CannotStartError` stands for the exception that it comes from, if the application has raised that. Else its text
    says all.
    """
    if not isinstance(error, CannotStartError):
        return described_from(error, own_frames(error.__traceback__))
    cause = error.__cause__
    if cause is not None and (own := _after(_SERVER, cause.__traceback__)) is not None:
        return described_from(cause, own)
    name, text, _ = described_from(error, None)
    return name, text, text


def own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Returns the traceback from the application's first frame on, without those that led there.

    It is None if the application has no frame, as with a syntax error. What this package itself has raised outside the
    application is returned whole, and what uvicorn has raised there from its own first frame on.
    """
    rest = trace
    while rest is not None and _is_one_of(_BEFORE, rest):
        if rest.tb_next is None and _module(rest) == _PACKAGE:
            return trace
        rest = rest.tb_next
    return _after(_SERVER, rest) or rest


def _after(packages: frozenset[str], trace: TracebackType | None) -> TracebackType | None:
    """Returns what follows the first frames, which are of these packages."""
    while trace is not None and _is_one_of(packages, trace):
        trace = trace.tb_next
    return trace


def _is_one_of(packages: frozenset[str], trace: TracebackType) -> bool:
    return _module(trace) in packages or trace.tb_frame.f_code.co_filename.startswith("<frozen ")


def _module(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
