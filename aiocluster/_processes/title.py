"""Process titles, as ``ps`` shows them: with the extra ``titles`` (setproctitle) only."""

from __future__ import annotations


def set_title(role: str) -> None:
    """Shows this process as ``aiocluster: <role>``; nothing without setproctitle."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(f"aiocluster: {role}")
