"""``aiocluster run hypercorn …``: hypercorn's own command in a worker, on shared ports.

Hypercorn binds its sockets itself and serves in processes of its own. Here it gets duplicates of the shared ports'
descriptors, and serves in the worker. It accepts by itself then, as with the policy ``shared``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from .current import current_worker

if TYPE_CHECKING:
    from hypercorn.config import Config


def main() -> int:
    """Runs hypercorn's command with the arguments in ``sys.argv``. Returns its exit status."""
    try:
        from hypercorn import __main__ as command
    except ModuleNotFoundError as error:
        if error.name != "hypercorn":
            raise
        raise SystemExit("hypercorn is not installed: pip install hypercorn") from None
    vars(command)["run"] = _run  # what it calls with its configuration, in place of what starts processes
    return command.main()


def _run(config: Config) -> int:
    if config.worker_class not in ("asyncio", "uvloop"):
        raise SystemExit(f"hypercorn's --worker-class {config.worker_class} shares no ports: use asyncio or uvloop")
    if config.quic_bind:
        raise SystemExit("hypercorn's --quic-bind can't be shared by several workers: leave it out")
    with asyncio.Runner(debug=config.debug, loop_factory=_loop_factory(config.worker_class)) as runner:
        runner.run(_serve(config))
    return 0


def _loop_factory(worker_class: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if worker_class == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


async def _serve(config: Config) -> None:
    from hypercorn.asyncio.run import worker_serve
    from hypercorn.utils import load_application

    app = load_application(config.application_path, config.wsgi_max_body_size)
    config.workers = 1  # this one
    ports: list[asyncio.Server] = []
    try:
        config.bind = [await _shared(bind, ports) for bind in config.bind]
        if config.ssl_enabled:
            config.insecure_bind = [await _shared(bind, ports) for bind in config.insecure_bind]
        leave = asyncio.Event()
        current_worker().on("shutdown", lambda event: leave.set())
        await worker_serve(app, config, shutdown_trigger=leave.wait)
    finally:
        for port in ports:
            port.close()


async def _shared(bind: str, ports: list[asyncio.Server]) -> str:
    """Opens a shared port at an address as hypercorn writes it. Returns a descriptor of it, written likewise."""
    loop = asyncio.get_running_loop()
    if bind.startswith("fd://"):
        return bind
    if bind.startswith("unix:"):
        port = await loop.create_unix_server(asyncio.Protocol, bind.removeprefix("unix:"), start_serving=False)
    else:
        host, _, number = bind.replace("[", "").replace("]", "").rpartition(":")
        if not number.isdecimal():
            host, number = bind, "8000"  # hypercorn's own default
        port = await loop.create_server(asyncio.Protocol, host, int(number), start_serving=False)
    ports.append(port)
    return f"fd://{os.dup(port.sockets[0].fileno())}"


if __name__ == "__main__":
    sys.exit(main())
