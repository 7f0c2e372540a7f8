"""``aiocluster scale``: more workers, or fewer."""

from __future__ import annotations

import re
from typing import Any

import click

from .._control import protocol
from .._control.client import RefusedError, ask
from .background import JSON, Progress, fail, how_many, in_one_line, one_line, running


class ScaleType(click.ParamType[Any]):
    """``4``, ``2:8``, ``+1`` or ``-1``."""

    name = "workers"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> protocol.Scale | protocol.Resize:
        if re.fullmatch(r"[+-]\d{1,6}", value):
            return protocol.Resize(int(value))
        found = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}))?", value)
        if found is None:
            self.fail(f"{value!r} is neither a number, nor LOW:HIGH, nor +N or -N", parameter, context)
        low = int(found[1])
        high = int(found[2]) if found[2] else low
        if low < 1 or high < low:
            self.fail(f"{value!r}: there is at least one worker, and the lower number comes first", parameter, context)
        return protocol.Scale(low, high)


@click.command("scale", context_settings={"ignore_unknown_options": True})  # -1 is no option
@click.argument("name")
@click.argument("workers", type=ScaleType(), metavar="N|LOW:HIGH|+N|-N")
@JSON
def command(name: str, workers: protocol.Scale | protocol.Resize, as_json: bool) -> None:
    """Changes how many workers the cluster NAME has. LOW:HIGH: as many as the load needs, within these bounds."""
    progress = Progress(as_json)
    with one_line():
        one = running(name)
        assert one.claimed is not None
        try:
            found = ask(one.claimed.socket, workers, progress)
        except RefusedError as error:
            fail(in_one_line(error), 1)
    progress.done(f"{name} has {how_many(found)}", found)
