"""From redis-py's exceptions to one `BackplaneError`: what happened, at which server, and what to do."""

from __future__ import annotations

import redis.exceptions as theirs

from ..errors import BackplaneError, ChannelClosedError
from .url import RedisUrl

_SAYING: tuple[tuple[type[Exception], str, str], ...] = (
    (theirs.AuthenticationError, "refuses the user or the password", "correct them in the URL"),
    (theirs.AuthenticationWrongNumberOfArgsError, "refuses the user or the password", "correct them in the URL"),
    (theirs.AuthorizationError, "refuses the user or the password", "correct them in the URL"),
    (theirs.NoPermissionError, "does not permit that to this user", "docs/how-to/state.md names the rights it needs"),
    (theirs.BusyLoadingError, "still loads its data", "try again later"),
    (theirs.ReadOnlyError, "is a replica, which takes no changes", "give its master's URL, or Sentinel's"),
    (theirs.OutOfMemoryError, "has no memory left", "raise its maxmemory, or let keys expire"),
    (theirs.ClusterDownError, "is a cluster that is down", "look at CLUSTER INFO"),
    (theirs.ResponseError, "answered with an error", ""),
    (theirs.TimeoutError, "does not answer", "is it running, and does the network reach it?"),
    (TimeoutError, "does not answer", "is it running, and does the network reach it?"),
    (theirs.ConnectionError, "can't be reached", "is it running, and is the URL right?"),
    (theirs.RedisClusterException, "can't be reached as a cluster", "is it one, and is the URL right?"),
    (OSError, "can't be reached", "is it running, and is the URL right?"),
)

_NOT_PERMITTED = "The user executing the script can't"
"""How a server says that a command in a script is not permitted."""

REFUSALS = (
    theirs.ResponseError,
    theirs.AuthenticationError,
    theirs.AuthorizationError,
    theirs.BusyLoadingError,
)
"""What redis-py makes of a reply that is an error. Its other exceptions mean that there was no reply."""


class RefusedError(BackplaneError):
    """A command was not done: the server answered with an error, which is ``__cause__``."""


class LostError(BackplaneError):
    """A command has no reply, because the connection broke or could not be made.

    Attributes:
        was_sent: Whether it may have been done.
    """

    was_sent: bool = False


class ClosedError(LostError, ChannelClosedError):
    """A command has no reply, because this process has closed the connection."""


def failure(url: RedisUrl, error: Exception) -> BackplaneError:
    """One line about an exception of redis-py's: a `RefusedError` or a `LostError`."""
    if isinstance(error, BackplaneError):
        return error
    details = " ".join(str(error).split()).rstrip(".")
    told = theirs.NoPermissionError() if _NOT_PERMITTED in details else error
    what, advice = next(
        ((what, advice) for kind, what, advice in _SAYING if isinstance(told, kind)), ("can't be used", "")
    )
    text = ": ".join(part for part in (f"{url} {what}", details, advice) if part)
    kind = RefusedError if isinstance(error, REFUSALS) else LostError
    failed = kind(text)
    failed.__cause__ = error
    return failed


def closed(url: RedisUrl, *, was_sent: bool = False) -> ClosedError:
    """The error of a command after this process has closed the connection, or meanwhile."""
    done = "may or may not have been done" if was_sent else "was not done"
    error = ClosedError(f"the connection to {url} is closed, so what it was asked {done}")
    error.was_sent = was_sent
    return error


def lost(url: RedisUrl, why: str, *, was_sent: bool) -> LostError:
    """The error of a command whose connection broke."""
    done = "may or may not have been done" if was_sent else "was not done"
    error = LostError(f"the connection to {url} broke, so what it was asked {done}: {why}")
    error.was_sent = was_sent
    return error
