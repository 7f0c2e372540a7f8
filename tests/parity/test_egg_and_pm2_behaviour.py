"""What Egg's cluster and pm2 have and no other test shows; see docs/reference/parity.md."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil

from aiocluster import Cluster
from tests.support.serving import ask, serving

SERVER = """
import asyncio

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\n\\r\\n%d" % 1)
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()

asyncio.run(main())
"""


async def stay() -> None:
    await asyncio.get_running_loop().create_future()


async def test_each_process_says_in_its_title_what_it_is() -> None:
    async with Cluster(stay, workers=1, agents={"scheduler": stay}) as cluster:
        (worker,) = cluster.workers.values()
        for pid, role in ((worker.pid, "worker 0"), (cluster.agents["scheduler"].pid, "agent scheduler")):
            title = f"aiocluster {__name__}: {role} ({__name__}:stay)"
            assert " ".join(psutil.Process(pid).cmdline()).strip() == title


async def test_a_changed_file_reloads_the_workers(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    cluster = Cluster(script, workers=1, reload_on_change=[tmp_path])
    async with serving(cluster, 1) as address, cluster.events("listening") as heard:
        assert await ask(address) == 1
        script.write_text(SERVER.replace("% 1", "% 2"))
        assert (await anext(heard)).address == address
        while await ask(address) != 2:  # the old one may have been given this connection
            await asyncio.sleep(0)
    while set(os.listdir("/proc/self/fd")) - before:  # a thread of watchfiles closes its own a moment later
        await asyncio.sleep(0.001)
