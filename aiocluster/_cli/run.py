"""``aiocluster run``: a cluster in the foreground."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import click

from .._control.names import named_after
from .._supervise.cluster import Cluster
from ..errors import ClusterError, RestartLimitError, StartupError
from ..scheduling._registry import BY_KERNEL, DEFAULT, POLICIES
from ..settings import Workers
from . import reloading
from .output.configure import Output, configure


class WorkersType(click.ParamType[Any]):
    """``4``, ``auto`` or ``2:8``."""

    name = "workers"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Workers:
        try:
            if value == "auto":
                return "auto"
            low, colon, high = value.partition(":")
            return (int(low), int(high)) if colon else int(low)
        except ValueError:
            self.fail(f"{value!r} is neither a number, nor LOW:HIGH, nor auto", parameter, context)


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option(
    "-w",
    "--workers",
    default="auto",
    type=WorkersType(),
    metavar="N",
    help="How many; auto: one per CPU; LOW:HIGH: as many as the load needs, within these bounds.",
)
@click.option(
    "--scheduling",
    type=click.Choice([*POLICIES, *BY_KERNEL]),
    default=os.environ.get("AIOCLUSTER_SCHEDULING") or DEFAULT,
    help="Which worker gets a connection.",
)
@click.option(
    "--health",
    metavar="ADDRESS",
    help="Answer /live and /ready there over HTTP, such as 127.0.0.1:9000.",
)
@click.option("--name", help="By which the other commands find it; else it is called after TARGET.")
@reloading.options
@click.argument("target")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(
    target: str,
    args: tuple[str, ...],
    workers: Workers,
    scheduling: str,
    health: str | None,
    name: str | None,
    **reload: Any,
) -> None:
    """Runs TARGET in several workers, in the foreground. Whatever they listen on is shared.

    TARGET is path/to/script.py, package.module or package.module:function. What follows it is its own.
    """
    settings = reloading.settings(target, **reload)
    output = configure()
    sys.argv = [target, *args]  # what the target sees, too
    sys.path.insert(0, os.getcwd())
    try:
        cluster = Cluster(
            target,
            workers=workers,
            args=args,
            scheduling=scheduling,
            name=name,
            health=health,
            systemd=True,
            **settings,
        )
        if name is None:
            cluster._control.named_after = named_after(target)
        asyncio.run(_run(cluster, target, output))
    except asyncio.CancelledError:
        sys.exit(0)  # SIGTERM before the workers were up; later it is a graceful stop
    except KeyboardInterrupt:
        sys.exit(130)  # Ctrl-C, likewise
    except (StartupError, RestartLimitError) as error:
        output.fail(error)
        sys.exit(1)
    except (ClusterError, ValueError) as error:
        print(f"aiocluster: {error}", file=sys.stderr)
        sys.exit(2)


async def _run(cluster: Cluster, target: str, output: Output) -> None:
    with output.tell(cluster, target):
        async with cluster:
            await cluster.serve_forever()
