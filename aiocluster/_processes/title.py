"""Process titles, as shown by ``ps``. They need the extra ``titles`` (setproctitle)."""

from __future__ import annotations


def set_title(role: str) -> None:
    """Sets the title ``aiocluster: <role>``. Does nothing without setproctitle."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(f"aiocluster: {role}")
