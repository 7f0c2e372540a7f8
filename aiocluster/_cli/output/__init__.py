"""What the command shows: its log, the workers' output, and why a start has failed.

::

    events ──▶ Story ─┐
    library's log ────┴─▶ Handler ─▶┐
    workers' stdout and stderr ────▶┴─ Text or Json ──▶ Relay: a thread ──▶ descriptors 1 and 2
"""
