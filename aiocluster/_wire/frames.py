"""The vocabulary: every kind of frame, one small class each, with who sends it and what it holds.

A frame travels as ``[kind, …fields]`` (`codec`). Encoding, dispatch and the check of what arrives come from these
classes (`frame`).

``peer`` is a pid: on the way to the primary the receiver's, on the way from it the sender's. The primary's own pid
stands for the primary. ``port`` is the number that the primary gave a shared port.
"""

from __future__ import annotations

from typing import Any, Final

from .endpoint import Endpoint
from .frame import Frame, Record

# Who sends. A child and its parent (child_process) are peers of the same rights.
PRIMARY: Final = "primary"
WORKER: Final = "worker"
FORK_SERVER: Final = "fork server"
RELATIVE: Final = "parent or child"


# ---- users' messages, requests and replies

# The kinds that are sent most often are encoded from these numbers and handled by their fields, without an object.
MESSAGES: Final = 1
HANDLES: Final = 2
FRAGMENT: Final = 3
DISCARD: Final = 4
REQUEST: Final = 5
REPLY: Final = 6
FAILURE: Final = 7
CANCEL: Final = 8
ACK: Final = 9
LOST: Final = 10
CALL: Final = 11
REQUEST_FRAGMENT: Final = 12
REQUEST_DISCARD: Final = 13
REQUEST_ACK: Final = 14

FLOW: Final = range(MESSAGES, REQUEST_ACK + 1)
"""The kinds of `FlowFrame`."""


class FlowFrame(Frame, by=(PRIMARY, WORKER, RELATIVE)):
    """A user's message, a request, a reply, or what regulates them.

    Those of one sender to one receiver form two flows (`windows`): messages, and requests with their replies, so that
    no reply waits behind messages that nobody takes. The primary forwards them without a look into ``body``.
    """

    peer: int
    number: int
    body: bytes


class Messages(FlowFrame, tag=MESSAGES):
    """``number`` messages, packed one after the other in ``body``."""


class Handles(FlowFrame, tag=HANDLES, descriptors=True):
    """One message and ``number`` descriptors; -n: n descriptors were lost on the way."""


class Fragment(FlowFrame, tag=FRAGMENT):
    """The beginning of the body of the flow's next frame that is no fragment."""


class Discard(FlowFrame, tag=DISCARD):
    """The fragments so far belong to nothing: their sender was cancelled."""


class Request(FlowFrame, tag=REQUEST):
    """A request; its reply has the same number."""


class Reply(FlowFrame, tag=REPLY):
    """What the handler of a request returned."""


class Failure(FlowFrame, tag=FAILURE):
    """What the handler of a request raised: [type, text, traceback]."""


class Cancel(FlowFrame, tag=CANCEL):
    """The requester no longer waits for the reply."""


class Ack(FlowFrame, tag=ACK):
    """``number`` frames of the flow of messages have been handled since it began."""


class Lost(FlowFrame, tag=LOST):
    """``number`` descriptors did not reach the receiver."""


class Call(FlowFrame, tag=CALL, by=PRIMARY):
    """[function, arguments]: a function to call, answered like a request."""


class RequestFragment(FlowFrame, tag=REQUEST_FRAGMENT):
    """As `Fragment`, in the flow of requests."""


class RequestDiscard(FlowFrame, tag=REQUEST_DISCARD):
    """As `Discard`, in the flow of requests."""


class RequestAck(FlowFrame, tag=REQUEST_ACK):
    """As `Ack`, in the flow of requests."""


# ---- what a worker is to do


class FunctionTarget(Record, tag="function"):
    """A function: ``name`` in ``module``, which is ``__mp_main__`` for one of the main script."""

    module: str
    name: str
    main: MainTarget | None = None
    in_cwd: bool = False
    """Whether the working directory is on the path."""


class ScriptTarget(Record, tag="script"):
    """A script, or a folder with a ``__main__.py``; the whole path."""

    path: str


class ModuleTarget(Record, tag="module"):
    """A module that is run like ``python -m``."""

    module: str


class MainTarget(Record, tag="main"):
    """The primary's main script again: the module that it was run as, or its path. One of them is None."""

    module: str | None = None
    path: str | None = None


TargetName = FunctionTarget | ScriptTarget | ModuleTarget | MainTarget
"""How another process finds a target."""


class WorkerConfig(Frame, tag=20, by=PRIMARY):
    """The first frame on a channel: what the worker (or the fork server) runs, and how."""

    target: FunctionTarget | ScriptTarget | ModuleTarget | MainTarget
    args: list[Any]
    argv0: str
    path: list[str]
    uid: int | None
    gid: int | None
    loop: str
    preload: list[str]
    primary_pid: int
    graceful_timeout: float
    heartbeat: float
    ignore_sigint: bool
    name: str | None
    peers: dict[int, str | None]


# ---- primary to worker

CONNECTIONS: Final = 25


class PeerJoined(Frame, tag=21, by=PRIMARY):
    """Another worker is online; an agent has a name."""

    pid: int
    name: str | None


class PeerLeft(Frame, tag=22, by=PRIMARY):
    """Another worker is gone."""

    pid: int


class Listened(Frame, tag=23, by=PRIMARY, descriptors=True):
    """The answer to the `Listen` of that number, with the listening socket."""

    number: int
    port: int
    is_handed_over: bool
    """Whether the primary accepts; else the worker does."""


class Refused(Frame, tag=24, by=PRIMARY):
    """The answer to the `Listen` of that number: the port can't be opened."""

    number: int
    errno: int
    text: str


class Connections(Frame, tag=CONNECTIONS, by=PRIMARY, descriptors=True):
    """So many accepted connections, a descriptor each."""

    port: int
    count: int


class Leave(Frame, tag=26, by=PRIMARY):
    """Finish within so many seconds, and go."""

    seconds: float


# ---- worker to primary

TAKEN: Final = 45
CLOSED: Final = 46
ACCEPTED: Final = 49


class Online(Frame, tag=40, by=WORKER):
    """The target is loaded."""


class Attached(Frame, tag=41, by=WORKER):
    """An event loop reads the channel from here on."""


class Detached(Frame, tag=51, by=WORKER):
    """No event loop reads the channel any more."""


class Listen(Frame, tag=42, by=WORKER):
    """The worker asks for a shared port: `Listened` or `Refused` answers."""

    number: int
    endpoint: Endpoint
    backlog: int
    scheduling: str | None
    mode: int | None


class Serving(Frame, tag=43, by=WORKER):
    """Connections may come."""

    port: int


class Unlisten(Frame, tag=44, by=WORKER):
    """No more of them."""

    port: int


class Taken(Frame, tag=TAKEN, by=WORKER):
    """Of the connections sent, in their order, the worker serves the first ``count``; it does not take the next
    ``returned``."""

    port: int
    count: int
    returned: int


class Closed(Frame, tag=CLOSED, by=WORKER):
    """So many connections that the worker took have been closed."""

    port: int
    count: int


class Accepted(Frame, tag=ACCEPTED, by=WORKER):
    """The worker has accepted so many itself, on a socket that workers share."""

    port: int
    count: int


class Failed(Frame, tag=47, by=WORKER):
    """An uncaught exception."""

    type_name: str
    text: str
    traceback: str


class Leaving(Frame, tag=48, by=(WORKER, RELATIVE)):
    """A worker leaves of its own accord; a parent or child has sent all that it will."""


class Report(Frame, tag=50, by=WORKER):
    """The event loop runs: seconds that it was late, bytes of resident memory, number of tasks."""

    delay: float
    memory: int
    tasks: int


# ---- between the primary and a fork server


class Warm(Frame, tag=70, by=FORK_SERVER):
    """Everything is imported."""


class Fork(Frame, tag=71, by=PRIMARY, descriptors=True):
    """Fork a worker with this environment. Descriptors: its channel, early stderr, stderr, perhaps stdout."""

    number: int
    env: dict[str, str]


class Forked(Frame, tag=72, by=FORK_SERVER):
    """The answer to the `Fork` of that number."""

    number: int
    pid: int


class Unforked(Frame, tag=73, by=FORK_SERVER):
    """The answer to the `Fork` of that number: the process could not be forked."""

    number: int
    errno: int


class Ended(Frame, tag=74, by=FORK_SERVER):
    """A worker has ended; ``code`` is as `subprocess` has it, below 0 for a signal."""

    pid: int
    code: int
