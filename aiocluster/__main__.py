"""``aiocluster`` and ``python -m aiocluster``: hears SIGTERM before anything else is imported."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Runs the command. The exit status is 0, 1 if the workers failed, or 2 if the arguments are invalid."""
    # For process 1 of a container, a SIGTERM without a handler is lost.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    from ._cli.group import main as run_command

    run_command()


if __name__ == "__main__":
    main()
