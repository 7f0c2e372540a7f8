"""A connection's way to a worker."""

from __future__ import annotations

from .sequence import Sequence
from .svg import Drawing


def draw() -> Drawing:
    sequence = Sequence(
        "A client connects to the primary. The primary picks a worker and hands the socket over. The worker confirms,"
        " and from then on speaks with the client directly. When it is ready, it gets the next connection.",
        {"client": "client", "primary": "primary", "worker": "worker"},
        566,
    )
    sequence.arrow("client", "primary", "1. connects")
    sequence.note("primary", "2. the policy picks\na worker with room", 190)
    sequence.arrow("primary", "worker", "3. the socket")
    sequence.arrow("worker", "primary", "4. taken")
    sequence.note("primary", "5. closes its own copy.\nKilled before 4?\nAnother worker gets it", 190)
    sequence.arrow("client", "worker", "6. requests and answers, directly", both=True)
    sequence.arrow("worker", "primary", "7. ready")
    sequence.note("primary", "the worker has room\nfor the next one", 190)
    return sequence.drawing
