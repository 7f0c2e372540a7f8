"""The command ``aiocluster``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from ._supervise.cluster import Cluster
from .errors import ClusterError, RestartLimitError, StartupError
from .scheduling._registry import BY_KERNEL, DEFAULT, POLICIES
from .settings import Workers


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command. The exit status is 0, 1 if the workers failed, or 2 if the arguments are invalid."""
    parser = argparse.ArgumentParser(prog="aiocluster", description="Runs asyncio programs on all cores.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run a script, a module or a function in several workers that share their ports",
        description="Runs TARGET in several workers, in the foreground. Whatever they listen on is shared: connections "
        "go to them in turn. Workers that end are replaced; Ctrl-C or SIGTERM stops them gracefully.",
    )
    run.add_argument("target", metavar="TARGET", help="path/to/script.py, package.module or package.module:function")
    run.add_argument("args", metavar="ARG", nargs="*", help="passed on to the target; put -- before its options")
    run.add_argument(
        "-w",
        "--workers",
        default="auto",
        type=_workers,
        metavar="N",
        help="how many; auto: one per CPU; LOW:HIGH: as many as the load needs, within these bounds",
    )
    run.add_argument(
        "--scheduling",
        choices=(*POLICIES, *BY_KERNEL),
        default=os.environ.get("AIOCLUSTER_SCHEDULING") or DEFAULT,
        help="which worker gets a connection (default: %(default)s)",
    )
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:end])
    options.args += given[end + 1 :]  # argparse accepts no more of these after an option
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.argv = [options.target, *options.args]  # what the target sees, too
    sys.path.insert(0, os.getcwd())
    try:
        asyncio.run(_run(options))
    except asyncio.CancelledError:
        sys.exit(0)  # SIGTERM before the workers were up; later it is a graceful stop
    except KeyboardInterrupt:
        sys.exit(130)  # Ctrl-C, likewise
    except (StartupError, RestartLimitError) as error:
        sys.exit(f"aiocluster: {error}")
    except (ClusterError, ValueError) as error:
        print(f"aiocluster: {error}", file=sys.stderr)
        sys.exit(2)


def _workers(text: str) -> Workers:
    try:
        if text == "auto":
            return "auto"
        low, colon, high = text.partition(":")
        return (int(low), int(high)) if colon else int(low)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number, nor LOW:HIGH, nor auto") from None


async def _run(options: argparse.Namespace) -> None:
    cluster = Cluster(options.target, workers=options.workers, args=options.args, scheduling=options.scheduling)
    async with cluster:
        await cluster.serve_forever()
