"""Runs a suite in this process, or in the one worker of a cluster: ``inside.py plain|worker asyncio|uvloop ARGS…``.

It runs in the suite's own environment, in which of this project only the package is installed. `recorder` writes the
outcomes; the last line says how many ports were shared.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import socket
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).parent)
OUT = "AIOCLUSTER_DOWNSTREAM_OUT"


def run(loop: str, *args: str) -> None:
    """The target: pytest, or unittest for the interpreter's own tests, on loops of this kind."""
    sys.path.insert(0, HERE)
    sys.argv = sys.argv[:1]
    if loop == "uvloop":
        _use_uvloop()
    if args[0] == "unittest":
        code = _unittest(args[1:])
    else:
        import pytest

        if importlib.util.find_spec("aiohttp"):
            _listen_by_address()
        code = int(pytest.main([*args, "-p", "recorder", "-p", "no:cacheprovider", "-q", "--no-header", "--tb=short"]))
    sys.stdout.flush()
    os._exit(code)  # suites leave threads behind


def _use_uvloop() -> None:
    import uvloop

    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.new_event_loop = uvloop.new_event_loop


def _listen_by_address() -> None:
    """Has aiohttp's test server listen by host and port: with a socket of its own it would share nothing."""
    test_utils: Any = importlib.import_module("aiohttp.test_utils")

    class Site(importlib.import_module("aiohttp.web_runner").TCPSite):  # type: ignore[misc]
        def __init__(self, runner: Any, sock: socket.socket, **options: Any) -> None:
            host, port = sock.getsockname()[:2]
            sock.close()
            super().__init__(runner, host, port, **options)

    test_utils.SockSite = Site


def _unittest(names: tuple[str, ...]) -> int:
    import unittest

    write = importlib.import_module("recorder")._write

    class Result(unittest.TextTestResult):
        def startTest(self, test: unittest.TestCase) -> None:
            super().startTest(test)
            write(test=test.id(), outcome="begun")

        def stopTest(self, test: unittest.TestCase) -> None:
            super().stopTest(test)
            failed = {one.id(): text for one, text in [*self.failures, *self.errors]}
            skipped = {one.id() for one, _ in self.skipped}
            if test.id() in failed:
                write(test=test.id(), outcome="failed", text=failed[test.id()][-4000:])
            else:
                write(test=test.id(), outcome="skipped" if test.id() in skipped else "passed")

    suite = unittest.defaultTestLoader.loadTestsFromNames(
        [f"test.test_asyncio.{name.removeprefix('test.test_asyncio.')}" for name in names]
    )
    result = unittest.TextTestRunner(resultclass=Result, verbosity=0).run(suite)  # type: ignore[arg-type]
    return 0 if result.wasSuccessful() else 1


async def _in_worker(loop: str, args: list[str]) -> int:
    from aiocluster import Cluster, RestartPolicy
    from aiocluster.events import Exit

    shared: Counter[str] = Counter()
    cluster = Cluster(
        run,
        workers=1,
        args=(loop, *args),
        loop="asyncio" if loop == "asyncio" else "auto",
        restart=RestartPolicy(limit=0),
    )
    ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    cluster.on("listening", lambda event: shared.update([event.address.family]))
    cluster.on("exit", ended.set_result)
    async with cluster:
        end = await ended
    with open(os.environ[OUT], "a") as file:
        file.write(
            json.dumps({"shared": dict(shared), "code": end.code, "signal": end.signal and end.signal.name}) + "\n"
        )
    return int(end.code if end.code is not None else 1)


def main() -> None:
    how, loop, *args = sys.argv[1:]
    if how == "plain":
        run(loop, *args)
    logging.basicConfig(level=logging.ERROR)
    sys.exit(asyncio.run(_in_worker(loop, args)))


if __name__ == "__main__":
    main()
