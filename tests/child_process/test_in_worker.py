"""Children of a cluster's worker are no workers."""

from __future__ import annotations

import sys

from aiocluster import Primary, child_process, current_worker

from .processes import INSIDE

LINE = """
import aiocluster, os
print(aiocluster.is_worker(), [name for name in os.environ if name.startswith("AIOCLUSTER_")])
"""


async def use_children() -> None:
    worker = current_worker()
    async with await child_process.fork(INSIDE, ["about_itself"]) as child:
        async for about in child.messages():
            await worker.send({"forked": about["environment"], "parent": about["parent"][0] == worker.pid})
        await child.wait()
    done = await child_process.exec_file(sys.executable, ["-c", LINE])
    await worker.send({"ran": done.stdout})
    await worker.send({"parent": child_process.parent()})


async def test_children_of_a_worker() -> None:
    async with Primary(use_children) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        assert (await anext(heard)).message == {"forked": [], "parent": True}
        assert (await anext(heard)).message == {"ran": "False []\n"}
        assert (await anext(heard)).message == {"parent": None}
        assert (await worker.wait()).code == 0
