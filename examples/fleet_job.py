"""A job that runs once on several machines.

All clusters with the same Redis and the same fleet name the agent ``job``, and one of them runs it. If that cluster
stops, or its machine fails, the job goes on in another one.

It needs a Redis, such as this one:

    $ redis-server --save ""

Then, in another terminal:

    $ pip install "aiocluster[redis]"
    $ AIOCLUSTER_BACKPLANE=redis://localhost AIOCLUSTER_FLEET=demo python fleet_job.py
    worker 4713: run 1 by …/4712, token 1

It runs until Ctrl-C. Start it a second time, in another terminal or on another machine. Then stop the one that runs the
job: the other one goes on with it, and its ``token`` is a higher one.
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
