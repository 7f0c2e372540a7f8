"""Which uncaught exceptions every other worker with this target would raise as well."""

from __future__ import annotations

import errno

from .._wire.main_guard import NestedClusterError
from ..errors import StartupError, TargetError

_ADDRESS_ERRORS = frozenset({errno.EADDRINUSE, errno.EACCES})


class CannotStartError(Exception):
    """A target can't start, and no other worker would do better. Its text is one line that says why."""


def what_repeats(error: BaseException | None) -> BaseException | None:
    """Returns the cause for which every other worker would fail in the same way; None if others may do better.

    They would if an import fails, an address is in use or not allowed, the target is none or can't start, it starts its
    own cluster, or none of the workers of a cluster of its own can start. It makes no difference if the exception ended
    a task group, or if a server exits because of it, as uvicorn does.
    """
    match error:
        case SystemExit(code=None | 0):
            return None
        case SystemExit():
            return what_repeats(error.__context__)
        case BaseExceptionGroup():
            return next((cause for one in error.exceptions if (cause := what_repeats(one)) is not None), None)
        case NestedClusterError() | TargetError() | CannotStartError() | ImportError() | SyntaxError():
            return error
        case StartupError() if error._is_in_vain:
            return error
        case OSError() if error.errno in _ADDRESS_ERRORS:
            return error
    return None


def why_it_repeats(error: BaseException | None) -> str | None:
    """Returns why every other worker would fail in the same way, in words; None if others may do better."""
    match what_repeats(error):
        case None:
            return None
        case NestedClusterError() | TargetError() | CannotStartError() | StartupError() as cause:
            return str(cause)
        case cause:
            return f"{type(cause).__qualname__}: {cause}"
