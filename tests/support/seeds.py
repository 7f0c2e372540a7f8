"""Random numbers for tests that take long: others in each run, and the same again if asked."""

from __future__ import annotations

import os
import random


def new_random() -> random.Random:
    """A generator with the seed ``AIOCLUSTER_TEST_SEED``, or else with a new one. Prints the seed."""
    seed = int(os.environ.get("AIOCLUSTER_TEST_SEED") or int.from_bytes(os.urandom(4)))
    print(f"AIOCLUSTER_TEST_SEED={seed}")
    return random.Random(seed)
