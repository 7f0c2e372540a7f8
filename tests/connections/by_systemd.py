"""A program that systemd starts with sockets; ``python -m tests.connections.by_systemd``."""

from __future__ import annotations

import asyncio
import os
import sys

from aiocluster import Primary
from aiocluster.integrations.systemd import inherited_descriptors


async def main() -> None:
    """Serves every socket that it was given; says how many, and serves until its stdin is closed."""
    fds = inherited_descriptors()
    assert "LISTEN_FDS" not in os.environ
    async with Primary() as primary, primary.events("listening") as heard:
        for fd in fds:
            address = await primary.listen_fd(fd)
            where = "serve_path" if address.path else "serve_address"
            args = [address.path] if address.path else [address.host or "", str(address.port)]
            for _ in range(2):
                primary.setup(target=f"tests.connections.inside:{where}", args=args)
                await primary.fork()
                await anext(heard)
        print(len(fds), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await primary.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
