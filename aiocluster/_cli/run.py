"""``aiocluster run``: a cluster in the foreground."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import click

from .._control.kept import Kept, keeping
from .._control.names import named_after
from .._supervise.cluster import Cluster
from ..errors import ClusterError, RestartLimitError, StartupError
from . import pid_file, reloading
from .output.configure import Output, configure
from .request import RunRequest, request_of
from .reread import RereadingCluster
from .run_command import RunCommand


@click.command("run", cls=RunCommand)
@reloading.options
def command(**_: Any) -> None:
    """Runs TARGET in several workers, in the foreground. Whatever they listen on is shared.

    TARGET is path/to/script.py, package.module or package.module:function, and what follows it is its own. Or it is an
    ASGI app, package.module:app, and all options may follow it, uvicorn's own too.

    Each option may also be a variable, such as AIOCLUSTER_WORKERS, or stand in TOML.
    """
    with keeping() as kept:
        run(request_of(click.get_current_context()), kept)


def run(request: RunRequest, kept: Kept) -> None:
    """Runs a cluster until it ends. Exits with 0, 1 if the workers failed, or 2 if the request is invalid."""
    output = configure(request.log_level, request.log_format, mend=kept.mend)
    for line in request.warnings:
        print(f"aiocluster: warning: {line}", file=sys.stderr)
    target = request.target if isinstance(request.target, str) else request.target.app
    sys.argv = [target, *request.settings["args"]]  # what the target sees, too
    sys.path.insert(0, os.getcwd())
    if request.app_dir is not None:
        sys.path.insert(0, os.path.abspath(request.app_dir))
    try:
        if request.pid_file is not None:
            pid_file.check(request.pid_file)
        cluster = RereadingCluster(request)
        if request.settings.get("name") is None:
            cluster._control.named_after = named_after(target)
        asyncio.run(_run(cluster, request, target, output))
    except asyncio.CancelledError:
        sys.exit(0)  # SIGTERM before the workers were up; later it is a graceful stop
    except KeyboardInterrupt:
        sys.exit(130)  # Ctrl-C, likewise
    except (StartupError, RestartLimitError) as error:
        output.fail(error)
        sys.exit(1)
    except pid_file.PidFileError as error:
        print(f"aiocluster: {error}", file=sys.stderr)
        sys.exit(1)
    except (ClusterError, TypeError, ValueError) as error:
        print(f"aiocluster: {error}", file=sys.stderr)
        sys.exit(2)


async def _run(cluster: Cluster, request: RunRequest, target: str, output: Output) -> None:
    with output.tell(cluster, target):
        async with cluster:
            with pid_file.written(request.pid_file):
                await cluster.serve_forever()
