"""Pure: what the clusters of a fleet publish, as bytes and back.

A cluster has *epochs*: when it has been out of touch for longer than its lease, it comes back as the next one, and
nothing that was under way before counts any more.
"""

from __future__ import annotations

from typing import Any

from .._wire.codec import pack_fields, unpack_fields
from .._wire.frame import Record
from ..errors import ProtocolError


class Letter(Record):
    """What is published. ``host`` and ``epoch`` are the sender's."""

    def encode(self) -> bytes:
        """The letter as bytes."""
        return pack_fields(self.array())


class Beat(Letter, tag="beat"):
    """The cluster is there. It is in the fleet for ``lease`` seconds from when it published the last one that it has
    heard itself."""

    host: str
    epoch: int
    number: int
    lease: float


class Bye(Letter, tag="bye"):
    """The cluster has stopped."""

    host: str
    epoch: int


class Over(Letter, tag="over"):
    """To one cluster: the sender has given up its epoch ``to_epoch``."""

    host: str
    epoch: int
    to_epoch: int


class Batch(Letter, tag="batch"):
    """To one cluster: batch ``number`` of frames, from 1 on; 0: no batch, and no frames.

    ``ack`` is how many of the receiver's batches have arrived. ``wants`` says that the later ones are to be sent again.
    """

    host: str
    epoch: int
    to_epoch: int
    number: int
    ack: int
    wants: bool
    frames: list[Any]


class Published(Letter, tag="published"):
    """``count`` messages on a topic, by the process ``pid``, packed one after the other in ``body``."""

    host: str
    pid: int
    count: int
    body: bytes


_KINDS: dict[Any, type[Letter]] = {kind.tag: kind for kind in (Beat, Bye, Over, Batch, Published)}


def parse(data: bytes) -> Letter:
    """The letter that these bytes are.

    Raises:
        ProtocolError: They are none.
    """
    fields = unpack_fields(data)
    if type(fields) is not list or not fields or type(fields[0]) is not str or fields[0] not in _KINDS:
        raise ProtocolError(f"{len(data)} bytes are no letter of a fleet")
    return _KINDS[fields[0]].parse(fields)


# ---- the frames in a batch


class Hello(Record, tag="hello"):
    """The first frame to another cluster: the processes that are there, as pids; False: it is no worker."""

    processes: dict[int, bool]


class Joined(Record, tag="joined"):
    """Another process is there."""

    pid: int
    is_worker: bool


class Left(Record, tag="left"):
    """A process has gone. All it sent has been in frames before."""

    pid: int


FlowFields = tuple[int, int, int, int, bytes]
"""A frame of a flow (`frames.FlowFrame`) between two processes of these clusters: its kind, the pids of its sender and
its receiver, its number and its body. It travels as such an array."""

_FRAMES: dict[Any, type[Record]] = {kind.tag: kind for kind in (Hello, Joined, Left)}


_FLOW = [int, int, int, int, bytes]


def parse_frame(fields: Any) -> Record | FlowFields:
    """The frame of a batch.

    Raises:
        ProtocolError: It is none.
    """
    if type(fields) is list and fields:
        if list(map(type, fields)) == _FLOW:
            kind, sender, receiver, number, body = fields
            if -(2**63) <= number < 2**63:
                return kind, sender, receiver, number, body
        elif type(fields[0]) is str and fields[0] in _FRAMES:
            return _FRAMES[fields[0]].parse(fields)
    raise ProtocolError(f"{fields!r:.60} is no frame of a batch")
