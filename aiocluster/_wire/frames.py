"""The vocabulary: every kind of frame, with its fields. One place, both directions.

``peer`` is a pid: on the way to the primary the receiver's, on the way from it the sender's. The primary's own pid
stands for the primary. ``listener`` is the number that the primary gave a shared port.
"""

from __future__ import annotations

from typing import Final

# Users' messages, and requests with their answers. Those of one sender to one receiver form a flow each (flow.py), so
# that no answer has to wait behind messages that nobody takes. The primary passes their frames on unread.
MESSAGES: Final = 1  # peer, count, bin        `count` messages, packed one after the other
HANDLES: Final = 2  # peer, descriptors, bin   one message and that many descriptors (-n: n were lost on the way)
FRAGMENT: Final = 3  # peer, 0, bin                the beginning of the bin of the flow's next frame that is no part
DISCARD: Final = 4  # peer, 0, b""             the parts so far belong to nothing: their sender was cancelled
REQUEST: Final = 5  # peer, number, bin
REPLY: Final = 6  # peer, number, bin
FAILURE: Final = 7  # peer, number, bin        [type, text, traceback]
CANCEL: Final = 8  # peer, number, b""         the requester waits no longer
ACK: Final = 9  # peer, frames, b""        so many frames of the flow have been handled since it began
LOST: Final = 10  # peer, descriptors, b""   that many descriptors did not reach the receiver
CALL: Final = 11  # peer, number, bin          [function, arguments]: from the primary only; answered like a request
REQUEST_FRAGMENT: Final = 12  # the same three for the flow of requests
REQUEST_DISCARD: Final = 13
REQUEST_ACK: Final = 14

# Primary to worker.
WELCOME: Final = 20  # {settings}              the first frame: what to run and how
PEER_JOINED: Final = 21  # pid, name
PEER_LEFT: Final = 22  # pid
LISTENED: Final = 23  # number, listener, handed over?   (and a descriptor: the listening socket)
REFUSED: Final = 24  # number, errno, text     the port can't be opened
CONNECTIONS: Final = 25  # listener, count     (and as many descriptors)
LEAVE: Final = 26  # seconds                   finish and go

# Worker to primary.
ONLINE: Final = 40  #                          the target is loaded
ATTACHED: Final = 41  #                        an event loop reads the channel from here on
LISTEN: Final = 42  # number, {what}
SERVING: Final = 43  # listener                connections may come
UNLISTEN: Final = 44  # listener               no more of them
TAKEN: Final = 45  # listener, count, returned of the connections sent, in their order, the first `count` are served
#                                              here and the next `returned` will not be
CLOSED: Final = 46  # listener, count          so many that were taken have been closed
ACCEPTED: Final = 49  # listener, count        so many were accepted here, on a socket that the workers share
FAILED: Final = 47  # type, text, traceback    an uncaught exception
REPORT: Final = 50  # seconds late, bytes resident, tasks   the event loop is alive
DETACHED: Final = 51  #                        no event loop reads the channel any more
LEAVING: Final = 48  #                         this worker leaves of its own accord; of a child: this end has said all

# Between the primary and a template, an interpreter that workers are forked from.
WARM: Final = 70  #                            template: everything is imported
FORK: Final = 71  # number, {environment}      (and descriptors: the channel, early stderr, stderr, perhaps stdout)
FORKED: Final = 72  # number, pid              template: done
UNFORKED: Final = 73  # number, errno          template: there is no more room for processes
ENDED: Final = 74  # pid, code                 template: as subprocess has it, below 0 for a signal

FLOW: Final = range(MESSAGES, REQUEST_ACK + 1)
WITH_DESCRIPTORS: Final = frozenset({LISTENED, CONNECTIONS})

NAMES: Final = {value: name for name, value in list(globals().items()) if type(value) is int}
