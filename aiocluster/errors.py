"""Every exception that aiocluster raises on purpose.

`ClusterError` is the root. Where a built-in exception says the same thing, the class derives from it too,
so that ``except LookupError`` or ``except ValueError`` work as a reader expects.
"""

from __future__ import annotations


class ClusterError(Exception):
    """Root of all errors of this package."""


class TargetError(ClusterError):
    """What a worker should run can't be found, or can't be named to another process."""


class StartupError(ClusterError):
    """A worker ended, or took longer than ``start_timeout``, before it was online.

    Its text ends with the worker's traceback, or with the last lines it wrote to stderr.
    """


class ReloadError(ClusterError):
    """A new worker failed to come up during a reload; the old workers stay."""


class RestartLimitError(ClusterError):
    """Workers ended unasked more often than the `RestartPolicy` allows; there are no more replacements."""


class ChannelClosedError(ClusterError):
    """The other process is gone, or has been disconnected from."""


class WorkerNotFoundError(ClusterError, LookupError):
    """No connected worker has that pid (or that agent's name)."""


class MessageTooLargeError(ClusterError, ValueError):
    """The packed message is longer than the limit (64 MiB). Nothing was sent."""


class SerializationError(ClusterError, ValueError, TypeError):
    """The message holds a value that msgpack can't carry; the text names its place. Nothing was sent."""


class ProtocolError(ClusterError):
    """The other process sent bytes that are no frame. Its channel is closed; nothing else is touched."""


class HandleError(ClusterError):
    """Descriptors were lost on their way: a process had no room for them, or too many were in flight.

    The limit of both is ``RLIMIT_NOFILE``. Too many in flight are waited for: a second, then they are given up.
    """


class RemoteError(ClusterError):
    """The handler of a request, or a called function, raised in the other process.

    Attributes:
        type_name: The exception's class, such as ``"builtins.ValueError"``.
        text: ``str()`` of the exception.
        remote_traceback: Its traceback as text; empty if there was none.
    """

    def __init__(self, type_name: str, text: str, remote_traceback: str = "") -> None:
        self.type_name = type_name
        self.text = text
        self.remote_traceback = remote_traceback
        super().__init__(type_name, text, remote_traceback)

    def __str__(self) -> str:
        head = f"{self.type_name}: {self.text}" if self.text else self.type_name
        return f"{head}\n\n{self.remote_traceback}" if self.remote_traceback else head


class ChildTimeoutError(ClusterError, TimeoutError):
    """A child process ran longer than its ``timeout``; it and its process group, its own children too, are dead.

    Attributes:
        stdout: What it had written to its standard output; bytes if ``encoding=None`` was asked for, else str.
        stderr: Likewise.
    """

    stdout: str | bytes = ""
    stderr: str | bytes = ""


class MaxBufferError(ClusterError):
    """A child process wrote more than ``max_buffer`` bytes; it and its process group, its own children too, are dead.

    Attributes:
        stdout: What was read of its standard output, ``max_buffer`` bytes at most; bytes if ``encoding=None`` was
            asked for, else str.
        stderr: Likewise.
    """

    stdout: str | bytes = ""
    stderr: str | bytes = ""
