"""The exceptions that aiocluster raises.

`ClusterError` is the base of all. A class also derives from a built-in exception of the same meaning, so that
``except LookupError`` and ``except ValueError`` work as expected.
"""

from __future__ import annotations


class ClusterError(Exception):
    """The base of all errors of this package."""


class TargetError(ClusterError):
    """A worker's target can't be found, or it has no name by which another process could find it, or it is no target.

    That it is no target, such as a WSGI app, a worker finds out when it has imported it. Then entering a `Cluster`, or
    its ``serve_forever()``, raises this.
    """


class StartupError(ClusterError):
    """A worker ended before it was online, or took longer than ``start_timeout``.

    Its text ends with the worker's traceback, or with the last lines it wrote to stderr. It is one line if every worker
    would fail in the same way, because an import failed or an address is in use or not allowed. The log then has the
    traceback.
    """

    _is_in_vain = False  # whether every worker would fail in the same way
    _refused: tuple[int, str | None] | None = None  # errno and address, None for one that the target opened by itself
    _setting: str | None = None  # whose address that is, if it is the primary's own


class ReloadError(ClusterError):
    """A new worker failed to start during a reload. The old workers stay."""


class RestartLimitError(ClusterError):
    """Workers ended unexpectedly more often than the `RestartPolicy` allows. No more are replaced.

    Its text says how the last one ended.
    """


class StoppingError(ClusterError):
    """No worker can be forked, because all are ending. An event handler that raises this is not logged."""


class ChannelClosedError(ClusterError):
    """The other process is gone, or the channel to it has been closed."""


class WorkerNotFoundError(ClusterError, LookupError):
    """No connected worker has that pid, or no agent has that name."""


class MessageTooLargeError(ClusterError, ValueError):
    """The packed message is longer than the limit (64 MiB). Nothing was sent."""


class SerializationError(ClusterError, ValueError, TypeError):
    """The message holds a value that msgpack can't carry; the text says where. Nothing was sent."""


class BackplaneError(ClusterError, ConnectionError):
    """A Redis can't be reached, refuses what it is asked, or has gone while it was asked.

    Its text says which one, without the URL's passwords. If a change was under way, it says whether that may have been
    done.
    """


class BackplaneStartupError(StartupError, BackplaneError):
    """The Redis of a `Cluster`, or what its ``state`` or ``backplane`` names, can't be had at its start."""


class ProtocolError(ClusterError):
    """The other process sent bytes that are not a valid frame. Only its channel is closed."""


class HandleError(ClusterError):
    """Descriptors were lost in transit: a process had no room for them, or too many were in flight.

    ``RLIMIT_NOFILE`` limits both. If too many are in flight, the sender retries for a second before it gives up.
    """


class RemoteError(ClusterError):
    """The handler of a request, or a called function, raised in the other process.

    Attributes:
        type_name: The exception's class, such as ``"builtins.ValueError"``.
        text: ``str()`` of the exception.
        remote_traceback: The traceback as text; empty if there was none.
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
    """A child process ran longer than its ``timeout``. Its whole process group was killed, its own children included.

    Attributes:
        stdout: What it had written to standard output; bytes with ``encoding=None``, else str.
        stderr: The same for standard error.
    """

    stdout: str | bytes = ""
    stderr: str | bytes = ""


class MaxBufferError(ClusterError):
    """A child process wrote more than ``max_buffer`` bytes. Its whole process group was killed, its children included.

    Attributes:
        stdout: What was read of its standard output, at most ``max_buffer`` bytes; bytes with ``encoding=None``, else
            str.
        stderr: The same for standard error.
    """

    stdout: str | bytes = ""
    stderr: str | bytes = ""
