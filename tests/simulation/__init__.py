"""Every scheduling policy against the same traffic, without a socket: ``python -m tests.simulation``."""
