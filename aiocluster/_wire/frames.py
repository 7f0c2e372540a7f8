"""All kinds of frames: one small class each, with its senders and its fields.

A frame travels as ``[kind, …fields]`` (`codec`). `frame` encodes, checks and dispatches frames with these classes.

``peer`` is a pid: the receiver's in frames to the primary, the sender's in frames from it. The primary's own pid means
the primary. ``port`` is the number that the primary gave a shared port.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from .._bind import BindAddress
from .endpoint import Endpoint
from .frame import Frame, Record

# The senders. A child and its parent (child_process) may send each other the same frames.
PRIMARY: Final = "primary"
WORKER: Final = "worker"
FORK_SERVER: Final = "fork server"
STATE: Final = "state's process"
RELATIVE: Final = "parent or child"


# ---- users' messages, requests and replies

# The most frequent kinds are encoded from these numbers, and handled by their fields without making an object.
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
TOPIC: Final = 15
TOPIC_FRAGMENT: Final = 16
TOPIC_DISCARD: Final = 17
TOPIC_ACK: Final = 18

FLOW: Final = range(MESSAGES, TOPIC_ACK + 1)
"""The kinds of `FlowFrame`."""


class FlowFrame(Frame, by=(PRIMARY, WORKER, RELATIVE)):
    """A user's message, a request, a reply, or a frame that controls their flow.

    The frames from one sender to one receiver form two flows (`windows`): messages, and requests with their replies. So
    no reply waits behind messages that nobody receives. The primary forwards them without unpacking ``body``.
    """

    peer: int
    number: int
    body: bytes


class Messages(FlowFrame, tag=MESSAGES):
    """``number`` messages, packed one after the other in ``body``."""


class Handles(FlowFrame, tag=HANDLES, descriptors=True):
    """One message with ``number`` descriptors; -n if its n descriptors were lost on the way."""


class Fragment(FlowFrame, tag=FRAGMENT):
    """A fragment of a body. The flow's next frame that is not a fragment completes the body."""


class Discard(FlowFrame, tag=DISCARD):
    """Discards the fragments so far: the send was cancelled."""


class Request(FlowFrame, tag=REQUEST):
    """A request; its reply has the same number."""


class Reply(FlowFrame, tag=REPLY):
    """What the handler of a request returned."""


class Failure(FlowFrame, tag=FAILURE):
    """What the handler of a request raised: [type, text, traceback]."""


class Cancel(FlowFrame, tag=CANCEL):
    """The requester no longer waits for the reply."""


class Ack(FlowFrame, tag=ACK):
    """The receiver has handled ``number`` frames of the flow of messages since it began."""


class Lost(FlowFrame, tag=LOST):
    """``number`` descriptors did not reach the receiver."""


class Call(FlowFrame, tag=CALL, by=PRIMARY):
    """[function, arguments]: a function to call, answered like a request. The function is packed by itself."""


class RequestFragment(FlowFrame, tag=REQUEST_FRAGMENT):
    """Like `Fragment`, in the flow of requests."""


class RequestDiscard(FlowFrame, tag=REQUEST_DISCARD):
    """Like `Discard`, in the flow of requests."""


class RequestAck(FlowFrame, tag=REQUEST_ACK):
    """Like `Ack`, in the flow of requests."""


class Topic(FlowFrame, tag=TOPIC, by=(PRIMARY, WORKER)):
    """``number`` messages that are published, packed one after the other in ``body``.

    In these four kinds, ``peer`` is the number of a flow: of one publisher's messages of one topic. A publisher gives
    its flows numbers of its own (`OpenTopic`), and the primary gives them those that subscribers see (`TopicFlow`).
    """


class TopicFragment(FlowFrame, tag=TOPIC_FRAGMENT, by=(PRIMARY, WORKER)):
    """Like `Fragment`, in a flow of a topic."""


class TopicDiscard(FlowFrame, tag=TOPIC_DISCARD, by=(PRIMARY, WORKER)):
    """Like `Discard`, in a flow of a topic."""


class TopicAck(FlowFrame, tag=TOPIC_ACK, by=(PRIMARY, WORKER)):
    """Like `Ack`, for a flow of a topic: the subscriber, or to the publisher the last of them, has handled so many."""


class OpenTopic(Frame, tag=80, by=WORKER):
    """The worker's flow of that number carries what it publishes to that topic."""

    number: int
    topic: str


class CloseTopic(Frame, tag=81, by=WORKER):
    """The worker's flow of that number has ended; all of it was acknowledged. The number may be used again."""

    number: int


class Subscribe(Frame, tag=82, by=WORKER):
    """The worker subscribes to that topic. The reply is `Subscribed`."""

    topic: str


class Unsubscribe(Frame, tag=83, by=WORKER):
    """The worker no longer subscribes to that topic."""

    topic: str


class Subscribed(Frame, tag=84, by=PRIMARY):
    """The reply to a `Subscribe`. All that comes of that topic before is of an earlier subscription."""

    topic: str


class TopicFlow(Frame, tag=85, by=PRIMARY):
    """The primary's flow of that number carries what the sender publishes to that topic, from now on.

    The sender is a pid, or ``host/pid`` if it is in another cluster.
    """

    number: int
    topic: str
    sender: int | str


class TopicFlowEnded(Frame, tag=86, by=PRIMARY):
    """The flow of that number has ended."""

    number: int


class TopicMissed(Frame, tag=87, by=PRIMARY):
    """The subscriber has missed ``count`` messages of the flow of that number, because it had no room for too long."""

    number: int
    count: int


# ---- what a worker runs


class FunctionTarget(Record, tag="function"):
    """A function: ``name`` in ``module``, which is ``__mp_main__`` for a function of the main script."""

    module: str
    name: str
    main: MainTarget | None = None
    in_cwd: bool = False
    """Whether the working directory is in ``sys.path``."""

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


class ScriptTarget(Record, tag="script"):
    """The absolute path of a script, or of a folder with a ``__main__.py``."""

    path: str


class ModuleTarget(Record, tag="module"):
    """A module that is run as by ``python -m``."""

    module: str


class MainTarget(Record, tag="main"):
    """The primary's main script: the module that it was run as, or its path. The other one is None."""

    module: str | None = None
    path: str | None = None


class AsgiTarget(Record, tag="asgi"):
    """An ASGI app that is served with uvicorn."""

    app: FunctionTarget
    factory: bool
    """Whether it is a function that returns the app."""
    addresses: list[BindAddress]
    options: dict[str, Any]
    """What `uvicorn.Config` is given."""

    def __hash__(self) -> int:
        return hash((self.tag, self.app, self.factory))  # the others can't be hashed


TargetName = FunctionTarget | ScriptTarget | ModuleTarget | MainTarget | AsgiTarget
"""How another process finds a target."""


AFAR: Final = 2**31
"""From this number on, a ``peer`` is no pid: the primary has given it to a process of another cluster of its fleet."""


class Remote(NamedTuple):
    """A process of another cluster of the fleet, and the number that frames call it by."""

    number: int
    host: str
    pid: int
    is_worker: bool


class WorkerConfig(Frame, tag=20, by=PRIMARY):
    """The first frame on a channel: what the worker (or the fork server) runs, and how."""

    target: FunctionTarget | ScriptTarget | ModuleTarget | MainTarget | AsgiTarget
    cluster: str
    """The cluster's name, for the process title."""
    args: list[Any]
    argv: list[str]
    """The primary's ``sys.argv``."""
    path: list[str]
    uid: int | None
    gid: int | None
    loop: str
    preload: list[str]
    primary_pid: int
    graceful_timeout: float
    heartbeat: float
    may_rest: bool
    """Whether it may report less often while it is idle."""
    slot: int | None
    name: str | None
    cpu: int | None
    """The CPU that it is to run on; None: it is not pinned."""
    tells_failure: bool
    """Whether it writes the traceback of its own failure. Else the primary does, as of what all workers share."""
    state: str | None
    """The URL of the cluster's state; None: it has none."""
    peers: dict[int, str | None]
    fleet: str | None
    host: str
    """What the fleet calls this cluster; empty if there is none."""
    token: int | None
    """The fencing token of an agent that is the only one in the fleet."""
    remotes: list[Remote]
    app_address: BindAddress
    """Where a function target that turns out to be an ASGI app is served."""
    slow_loop: float | None
    """Seconds after which a blocked event loop is told of; None: it is not watched."""

    times_waits: bool
    """Whether it is to tell how long connections have waited that it accepts itself. After a `Count`, it is, too."""

    def with_peers(self, peers: dict[int, str | None], remotes: list[Remote]) -> WorkerConfig:
        """Returns the same with these peers: the names, or None, of the workers that are online, by pid; and those of
        other clusters."""
        return WorkerConfig(**{**vars(self), "peers": peers, "remotes": remotes})


# ---- primary to worker

CONNECTIONS: Final = 25


class PeerJoined(Frame, tag=21, by=PRIMARY):
    """Another worker is online. Only agents have a name."""

    pid: int
    name: str | None


class PeerLeft(Frame, tag=22, by=PRIMARY):
    """Another worker is gone."""

    pid: int


class RemoteJoined(Frame, tag=33, by=PRIMARY):
    """A process of another cluster of the fleet is there. The fields are those of `Remote`."""

    number: int
    host: str
    pid: int
    is_worker: bool


class RemoteLeft(Frame, tag=34, by=PRIMARY):
    """The process of that number is gone, or out of touch."""

    number: int


class BackplaneChanged(Frame, tag=35, by=PRIMARY):
    """Whether the fleet can be reached, and if not, why."""

    is_connected: bool
    why: str


class LeaseHeld(Frame, tag=36, by=PRIMARY, descriptors=True):
    """The second frame, to an agent that is the only one in the fleet: shared memory that says until when.

    It has that time twice, as doubles, in seconds on the clock of `_processes.clock`.
    """


class Listened(Frame, tag=23, by=PRIMARY, descriptors=True):
    """The reply to the `Listen` of that number, with the listening socket."""

    number: int
    port: int
    is_handed_over: bool
    """True if the primary accepts connections; False if the worker does."""


class Bind(Frame, tag=29, by=PRIMARY):
    """The reply to the `Listen` of that number: no port is open there, and it is this worker's turn to bind the path.

    It looks at the path once more: another worker may have bound it meanwhile. Then it sends `Bound` or `Unbound`.
    """

    number: int


class Moved(Frame, tag=30, by=PRIMARY, descriptors=True):
    """The port has another listening socket, because a worker has bound its path anew."""

    port: int


class Refused(Frame, tag=24, by=PRIMARY):
    """The reply to the `Listen` of that number: the port can't be opened."""

    number: int
    errno: int
    text: str


class Connections(Frame, tag=CONNECTIONS, by=PRIMARY, descriptors=True):
    """``count`` accepted connections, with one descriptor each.

    ``pace`` is 0 if connections take this worker so little time that it is sent several, and else 1; or 2 if it may
    also accept by itself in place of connections that kept it busy.
    """

    port: int
    count: int
    pace: int


class Unlistened(Frame, tag=31, by=PRIMARY):
    """The reply to an `Unlisten`, in the order of these: the port has closed, unless others want it."""

    port: int


class PortClosed(Frame, tag=32, by=PRIMARY):
    """The primary has closed this port: nobody can connect to it any more."""

    port: int


class Leave(Frame, tag=26, by=PRIMARY):
    """Tells the worker to finish and exit within so many seconds."""

    seconds: float


# ---- worker to primary

TAKEN: Final = 45
CLOSED: Final = 46
ACCEPTED: Final = 49
READY: Final = 55


class Online(Frame, tag=40, by=WORKER):
    """The target is loaded."""

    is_app: bool  # an ASGI app, which the worker serves


class Attached(Frame, tag=41, by=WORKER):
    """An event loop now reads the channel."""


class Detached(Frame, tag=51, by=WORKER):
    """No event loop reads the channel any more."""


class Listen(Frame, tag=42, by=WORKER):
    """Asks for a shared port. The reply is `Listened` or `Refused`; for a Unix socket, it may be `Bind`."""

    number: int
    endpoint: Endpoint
    backlog: int
    scheduling: str | None
    inode: list[int] | None
    """The device and inode of the socket that the worker finds at the path; empty if there is none. None if it may not
    look."""
    cleanup: bool | None
    """Whether the file of the socket is removed when the port is closed; None: when the primary ends."""
    is_listening: bool
    """Whether clients may connect at once. If not, the socket is only bound until the worker makes it listen."""


class Bound(Frame, tag=53, by=WORKER, descriptors=True):
    """The worker has bound the path of the `Listen` of that number: its file, and the socket. The reply is the same."""

    number: int
    inode: list[int] | None


class Unbound(Frame, tag=54, by=WORKER):
    """The worker does not bind the path of the `Listen` of that number."""

    number: int


class Serving(Frame, tag=43, by=WORKER):
    """The worker takes connections of this port from now on."""

    port: int


class Unlisten(Frame, tag=44, by=WORKER):
    """The worker no longer takes connections of this port. The reply is `Unlistened`."""

    port: int


class Taken(Frame, tag=TAKEN, by=WORKER):
    """Of the connections it was sent, in order, the worker has taken the first ``count`` and returns the next
    ``returned``."""

    port: int
    count: int
    returned: int


class Closed(Frame, tag=CLOSED, by=WORKER):
    """``count`` connections that the worker took have been closed."""

    port: int
    count: int


class Accepted(Frame, tag=ACCEPTED, by=WORKER):
    """The worker itself has accepted ``count`` connections, on a socket that workers share.

    They waited for so many milliseconds in the kernel's queue, the first of them longest; see `queue_time`.
    """

    port: int
    count: int
    shortest: int
    longest: int


class Ready(Frame, tag=READY, by=WORKER):
    """The worker's loop has gone round since it took its ``count`` oldest connections: their first requests have been
    served if they were there. So many as ``told`` took ``nanoseconds`` together; if 0, those before took longer."""

    port: int
    count: int
    told: int
    nanoseconds: int


class Failed(Frame, tag=47, by=(WORKER, FORK_SERVER)):
    """The process has failed with an uncaught exception.

    ``repeats`` says why every other worker would fail in the same way; None: others may do better. ``is_told`` says
    whether the process itself writes the traceback to its stderr. If an address was in use or not allowed, ``errno``
    is the system's; ``address`` is that of the shared port, and None if the process opened it by itself.
    """

    type_name: str
    text: str
    traceback: str
    repeats: str | None
    is_told: bool
    errno: int | None = None
    address: str | None = None


class Leaving(Frame, tag=48, by=WORKER):
    """The worker is leaving within so many seconds: it has read a `Leave`, or wants to.

    None: within ``graceful_timeout``. If it has not been told to, the reply is a `Leave` with the seconds that it has.
    """

    seconds: float | None


class Signalled(Frame, tag=52, by=WORKER):
    """A signal that the application does not handle has reached the worker. The primary decides what it means."""

    signal: int


class Spent(Frame, tag=56, by=WORKER):
    """The worker has reached a limit of its own, and asks to be replaced; ``why`` says which. Until then it serves."""

    why: str


REST: Final = 30
"""A worker that rests reports so many times less often."""


class Report(Frame, tag=50, by=WORKER):
    """A sample of the event loop: its delay in seconds, the share of time since the last sample that it was busy, bytes
    of resident memory, number of tasks, and the seconds until the next sample. The share is from 0.0 to 1.0, and None
    if it is unknown."""

    delay: float
    busy: float | None
    memory: int
    tasks: int
    within: float


# ---- between a parent and its child


class Finished(Frame, tag=60, by=RELATIVE):
    """A parent or child will send nothing more."""


# ---- between the primary and a fork server


class Warm(Frame, tag=70, by=FORK_SERVER):
    """The fork server has imported all modules and can fork.

    It has counted this itself meanwhile: a packed report (`_metrics.family`), empty if that is nothing.
    """

    counted: bytes


class Fork(Frame, tag=71, by=PRIMARY, descriptors=True):
    """Tells it to fork a worker with this environment.

    Its ``count`` descriptors: the worker's channel, stdin, stdout and stderr.
    """

    number: int
    count: int
    env: dict[str, str]


class Forked(Frame, tag=72, by=FORK_SERVER):
    """The reply to the `Fork` of that number."""

    number: int
    pid: int


class Unforked(Frame, tag=73, by=FORK_SERVER):
    """The reply to the `Fork` of that number: the process could not be forked."""

    number: int
    errno: int


class Ended(Frame, tag=74, by=FORK_SERVER):
    """A worker has ended. ``code`` is its exit status as in `subprocess`: negative for a signal."""

    pid: int
    code: int


# ---- the state: the primary and the process that keeps it, and workers that want to reach that


class StateConfig(Frame, tag=90, by=PRIMARY):
    """The first frame to the process that keeps the state: where, and how the process is to run."""

    url: str
    cluster: str
    """The cluster's name, for the process title."""
    uid: int | None
    gid: int | None
    loop: str
    primary_pid: int


class StateReady(Frame, tag=91, by=STATE):
    """The process can serve."""


class StateFailed(Frame, tag=92, by=STATE):
    """The process can't serve, and ends."""

    text: str


class ServeState(Frame, tag=93, by=PRIMARY, descriptors=True):
    """Its descriptor is the channel of a client. The reply is `StateServed`."""

    number: int


class StateServed(Frame, tag=94, by=STATE):
    """The client of that number is served."""

    number: int


class OpenState(Frame, tag=95, by=WORKER):
    """The worker wants a channel to the state's process. The reply is `StateOpened` or `StateRefused`."""

    number: int


class StateOpened(Frame, tag=96, by=PRIMARY, descriptors=True):
    """The reply to the `OpenState` of that number, with the worker's end of the channel."""

    number: int


class StateRefused(Frame, tag=97, by=PRIMARY):
    """The reply to the `OpenState` of that number: there is no state to be had."""

    number: int
    text: str


# ---- the side channel: between the primary and threads of a worker, whose loop may be blocked


class SideChannel(Frame, tag=110, by=PRIMARY, descriptors=True):
    """The second frame to a worker, with its end of the side channel."""


class Inspect(Frame, tag=111, by=PRIMARY):
    """Asks for a look inside: ``tasks``, ``stacks``, or a ``profile`` of so many seconds, ``rate`` times a second.

    The reply is `Inspected`.
    """

    number: int
    what: str
    seconds: float
    rate: float


class Inspected(Frame, tag=112, by=WORKER):
    """A part of the reply to the `Inspect` of that number. All parts together are a packed dict."""

    number: int
    part: bytes
    is_last: bool


class Slow(Frame, tag=113, by=WORKER):
    """The event loop has been blocked for so long, and its thread is ``where`` (``shop/web.py:88 in quote``)."""

    seconds: float
    where: str


class SlowEnded(Frame, tag=114, by=WORKER):
    """The event loop that the last `Slow` was about runs again, after so many seconds."""

    seconds: float


class LogRecord(Frame, tag=115, by=WORKER):
    """A record of `logs.Handler`: a packed dict of its attributes. Before it, so many could not be sent."""

    lost: int
    body: bytes


# ---- the application's numbers: the primary and its workers

LAST_WORD: Final = 2**62
"""The number of a worker's last `Counted`, which it sends unasked, when it ends."""


class Count(Frame, tag=120, by=PRIMARY):
    """Asks what the worker has counted so far. The reply is `Counted`. Numbers grow."""

    number: int


class Counted(Frame, tag=121, by=WORKER):
    """The reply to the `Count` of that number: a part of a packed report (`_metrics.family`), empty if there is none.

    Of its messages, ``undelivered`` have come back so far.
    """

    number: int
    undelivered: int
    part: bytes
    is_last: bool


class AskPage(Frame, tag=122, by=WORKER):
    """Asks for the page with the numbers of all workers, in a format that suits this HTTP header ``Accept``.

    The reply is `Page` or `NoPage`; before it has come, no other may be asked for.
    """

    accept: str


class Page(Frame, tag=123, by=PRIMARY):
    """The reply to `AskPage`."""

    content_type: str
    body: bytes


class NoPage(Frame, tag=124, by=PRIMARY):
    """The reply to `AskPage`: there is no page to be had."""

    text: str
