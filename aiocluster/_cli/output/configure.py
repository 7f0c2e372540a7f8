"""Sets up all output of the command."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Literal

from ..._primary.relay import Relay, Relays
from ..._supervise.cluster import Cluster
from .colour import has_colour, is_terminal
from .failure import in_one_line
from .handler import Format, Handler
from .json_lines import Json
from .story import Story
from .text import Text
from .tracebacks import Tracebacks

LogFormat = Literal["text", "json"]
LEVELS = ("debug", "info", "warning", "error", "critical")


class Output:
    """The command's log, and what its workers print.

    Args:
        stdout: How what workers write to stdout looks.
        stderr: How the log looks, and what workers write to stderr.
        mend: See `Relay`.
    """

    def __init__(self, stdout: Format, stderr: Format, mend: Callable[[], bool] | None = None) -> None:
        relay = Relay(2, stderr, mend)
        self._relays = Relays(Relay(1, stdout, mend), relay)
        self._format = stderr
        self.handler: Handler = Handler(stderr, relay)

    def tell(self, cluster: Cluster, what: str) -> Story:
        """Relays the output of this cluster's workers, and tells its story while the returned block is open.

        Args:
            cluster: A cluster that has not been entered yet.
            what: What it runs, for the banner.
        """
        cluster.primary._relays = self._relays
        return Story(cluster, what)

    def fail(self, error: Exception) -> None:
        """Writes why the cluster has failed: in one line, where every worker would have failed in the same way."""
        self.handler.write(self._format.failure(in_one_line(error)))


def configure(
    level: str = "info",
    format: LogFormat = "text",
    *,
    mend: Callable[[], bool] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Output:
    """Sets up `logging` for this process, and returns what the command's own output goes through.

    Args:
        level: One of `LEVELS`: what of the log is shown. What workers print is always shown.
        format: ``"text"``, or ``"json"``: one object a line.
        mend: Called by a thread when nobody reads stdout or stderr any more. Returns whether somebody does now.
        environ: Where ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM`` are looked up.
    """
    tracebacks = Tracebacks()
    stdout, stderr = (_format(fd, name, format, tracebacks, environ) for fd, name in ((1, "stdout"), (2, "stderr")))
    output = Output(stdout, stderr, mend)
    logging.basicConfig(level=level.upper(), handlers=[output.handler], force=True)
    return output


def _format(fd: int, stream: str, format: LogFormat, tracebacks: Tracebacks, environ: Mapping[str, str]) -> Format:
    if format == "json":
        return Json(stream, tracebacks)
    return Text(stream, tracebacks, is_terminal=is_terminal(fd), is_coloured=has_colour(fd, environ))
