"""``aiocluster profile``: where a worker's time goes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from .background import JSON, fail, one_line
from .flame_graph import flame_graph
from .looking import SLOT, end, look, who
from .speedscope import speedscope
from .table import show_table

_MOST_FUNCTIONS = 15


@click.command("profile")
@click.argument("name")
@SLOT
@click.option(
    "--seconds", type=click.FloatRange(0.1, 3600), default=10.0, show_default=True, metavar="SECONDS", help="How long."
)
@click.option(
    "--rate",
    type=click.FloatRange(1, 1000),
    default=100.0,
    show_default=True,
    metavar="N",
    help="How often in a second it looks where the worker is.",
)
@click.option("--idle", is_flag=True, help="Also threads that wait for something to do.")
@click.option(
    "-o",
    "--output",
    "outputs",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Where to write it: FILE.svg is a flame graph, FILE.json is for speedscope.app. May be repeated. "
    "[default: NAME-SLOT.svg and NAME-SLOT.speedscope.json]",
)
@JSON
def command(
    name: str, slot: str | None, seconds: float, rate: float, idle: bool, outputs: tuple[Path, ...], as_json: bool
) -> None:
    """Measures where the time of the worker in SLOT of the cluster NAME goes; without SLOT, of all workers together.

    A thread in the worker looks again and again where the others are. Writes a flame graph, and the same for
    speedscope.app; with --json it writes the latter to stdout, and no file that -o does not name. SLOT may be an
    agent's name.
    """
    stem = name if slot is None else f"{name}-{slot}"
    if not outputs and not as_json:
        outputs = (Path(f"{stem}.svg"), Path(f"{stem}.speedscope.json"))
    for path in outputs:
        if path.suffix not in (".svg", ".json"):
            raise click.UsageError(f"{path} is neither .svg (a flame graph) nor .json (for speedscope.app)")
    found = look(name, slot, "profile", seconds, rate)
    for worker in found:
        if "error" in worker:
            click.echo(f"aiocluster: without {who(worker)}: {worker['error']}", err=True)
    profiles = [(who(worker), worker) for worker in found if "error" not in worker]
    counts = counted(profiles, idle)
    title = f"{stem}: {sum(counts.values())} samples in {seconds:g} s"
    document = speedscope(title, counts)
    with one_line():
        for path in outputs:
            text = flame_graph(title, counts) if path.suffix == ".svg" else json.dumps(document)
            path.write_text(text, encoding="utf-8")
    if as_json:
        click.echo(json.dumps(document))
    else:
        _show(counts, profiles)
        for path in outputs:
            click.echo(f"written: {path}")
    end(found)


Frame = tuple[str, str, int]
"""A function's name, its file, and the line where it begins."""

Stack = tuple[Frame, ...]


def counted(profiles: list[tuple[str, dict[str, Any]]], with_idle: bool) -> Counter[Stack]:
    """Returns how often each stack was found, outermost frame first: that is the thread, and of several workers the
    worker."""
    counts: Counter[Stack] = Counter()
    for worker, profile in profiles:
        frames = [(frame["name"], frame["file"], frame["line"]) for frame in profile["frames"]]
        roots: tuple[Frame, ...] = ((worker, "", 0),) if len(profiles) > 1 else ()
        for stack in profile["stacks"]:
            if with_idle or not stack["idle"]:
                thread: Frame = (stack["thread"], "", 0)
                counts[(*roots, thread, *(frames[number] for number in stack["frames"]))] += stack["count"]
    return counts


def _show(counts: Counter[Stack], profiles: list[tuple[str, dict[str, Any]]]) -> None:
    looks = sum(profile["looks"] for _, profile in profiles)
    if omitted := sum(profile["omitted"] for _, profile in profiles):
        click.echo(f"aiocluster: {omitted} samples are left out: there were too many different stacks", err=True)
    if not looks:
        fail("the time was too short for a sample", 1)
    if not counts:
        click.echo(f"In none of {looks} samples was anything done; --idle shows what waits.")
        return
    itself: Counter[Frame] = Counter()
    total: Counter[Frame] = Counter()
    for stack, count in counts.items():
        itself[stack[-1]] += count
        for frame in set(stack):
            if frame[1]:
                total[frame] += count
    rows = [
        (f"{100 * itself[frame] / looks:.1f}%", f"{100 * count / looks:.1f}%", frame[0], f"{frame[1]}:{frame[2]}")
        for frame, count in sorted(total.items(), key=lambda item: (-itself[item[0]], -item[1]))[:_MOST_FUNCTIONS]
    ]
    show_table(("ITSELF", "WITH CALLS", "FUNCTION", "WHERE"), rows, ("WHERE",))
