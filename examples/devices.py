"""A device for each worker, such as a GPU.

A worker's slot chooses its device. ``env`` is a function of the slot; what it returns is in the worker's environment
before its code is imported. CUDA shows a process only the devices that ``CUDA_VISIBLE_DEVICES`` names, so each worker
finds one, under the number 0. A worker that is replaced passes its slot, and with it the device, on to the next.

    $ python devices.py
    slot 0 has device 0
    slot 1 has device 1
    slot 2 has device 2
    slot 3 has device 3
    a worker has ended, and the next one in slot 0 has device 0

``$DEVICES`` has the devices, by number or by UUID: ``DEVICES="3 GPU-8932f937" python devices.py``. This example touches
none.
"""

import asyncio
import os

from aiocluster import Cluster, current_worker

DEVICES = os.environ.get("DEVICES", "0 1 2 3").split()


def device_of(slot: int) -> dict[str, str]:
    """The variables of a worker in this slot. It runs in the primary."""
    return {"CUDA_VISIBLE_DEVICES": DEVICES[slot]}


async def infer() -> None:
    """The worker. It would load its model here, onto the one device that it sees: ``model.to("cuda:0")``."""
    worker = current_worker()
    await worker.send([worker.slot, os.environ["CUDA_VISIBLE_DEVICES"]])
    await asyncio.get_running_loop().create_future()


async def main() -> None:
    cluster = Cluster(infer, workers=len(DEVICES), env=device_of)
    async with cluster.events("message") as heard, cluster:
        for slot, device in sorted([(await anext(heard)).message for _ in DEVICES]):
            print(f"slot {slot} has device {device}")
        killed = next(worker for worker in cluster.workers.values() if worker.slot == 0)
        killed.kill()
        slot, device = (await anext(heard)).message
        print(f"a worker has ended, and the next one in slot {slot} has device {device}")


if __name__ == "__main__":
    asyncio.run(main())
