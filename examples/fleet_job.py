"""A job that runs once in a fleet of clusters, on however many machines, and goes on elsewhere if its machine fails.

Seed 002 leaves open what happens to a timed job in several processes. `run_once.py` has it run once in a cluster. Here
it runs once among all clusters that share a Redis. Each prints who runs the job now. Start it in two terminals, or on
two machines, and stop the one that runs the job::

    AIOCLUSTER_BACKPLANE=redis://localhost AIOCLUSTER_FLEET=demo python fleet_job.py
"""

import asyncio
import os

from aiocluster import Agent, Cluster, current_worker

INTERVAL = float(os.environ.get("INTERVAL", "1.0"))  # seconds


async def job() -> None:
    """The agent. Whatever it writes to should refuse a lower fencing token than it has seen."""
    agent = current_worker()
    run = 0
    while True:
        run += 1
        result = {"run": run, "by": f"{agent.fleet.host}/{agent.pid}", "token": agent.fencing_token}
        await agent.fleet.broadcast(result)
        await asyncio.sleep(INTERVAL)


async def work() -> None:
    """Each worker hears the results, wherever the job runs."""
    worker = current_worker()
    async for result in worker.messages():
        print(f"worker {worker.pid}: run {result['run']} by {result['by']}, token {result['token']}", flush=True)


async def main() -> None:
    async with Cluster(work, workers=1, agents={"job": Agent(job, once="fleet")}) as cluster:
        await cluster.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
