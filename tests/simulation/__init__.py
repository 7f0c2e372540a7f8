"""Every policy and every hand-over against the same traffic, without a socket: ``python -m tests.simulation``."""
