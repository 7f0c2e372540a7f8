"""A message's way from worker to worker."""

from __future__ import annotations

from .sequence import Sequence
from .svg import Drawing


def draw() -> Drawing:
    sequence = Sequence(
        "Worker 1 packs a message and sends it to the primary, which passes it on to worker 2 without unpacking it."
        " When the handlers of worker 2 have finished, the confirmation goes back the same way.",
        {"worker 1": "worker", "primary": "primary", "worker 2": "worker"},
        622,
    )
    sequence.note("worker 1", "send_to(pid, …)\npacks it", 136)
    sequence.arrow("worker 1", "primary", "1. to pid 4711")
    sequence.note("primary", "knows the channel,\ndoes not unpack it", 170)
    sequence.arrow("primary", "worker 2", "2. from pid 4710")
    sequence.note("worker 2", "unpacks it,\nhandlers run", 136)
    sequence.arrow("worker 2", "primary", "3. handled")
    sequence.arrow("primary", "worker 1", "4. handled")
    sequence.note("worker 1", "there is room for\nmore. Or, if worker 2\nhas been killed:\n“undelivered”", 180)
    return sequence.drawing
