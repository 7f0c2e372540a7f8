"""The names of clusters. Pure."""

from __future__ import annotations

import os.path
import re

_LONGEST = 56  # and "-2" to "-999"


def named_after(target: str) -> str:
    """Returns the name of a cluster that was given none: of ``shop.web:app`` it is ``shop.web``, of ``app.py`` ``app``.

    Args:
        target: What it runs, as the command is told.
    """
    is_path = "/" in target or target.endswith(".py")
    stem = os.path.basename(target).removesuffix(".py") if is_path else target.partition(":")[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("._-")
    return name[:_LONGEST] or "cluster"
