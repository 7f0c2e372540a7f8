"""Workers that can't work are not restarted for ever.

Seed 000: ten restarts within a minute, and the master emits ``giveup`` instead of an eleventh one. Here the workers
end as soon as they are online, whatever is done; the cluster replaces ten of them, and gives up. Who is to be woken
by that listens to the event; the program ends by the error of ``serve_forever``.
"""

import asyncio
import sys

from aiocluster import Cluster, RestartLimitError, RestartPolicy
from aiocluster.events import GiveUp


def fail() -> None:
    """The worker."""
    sys.exit(3)


async def main() -> None:
    policy = RestartPolicy(limit=10, period=60.0, backoff=(0.0, 0.0))  # successive ones don't wait longer, here
    cluster = Cluster(fail, workers=1, restart=policy)

    @cluster.on("give_up")
    def alarm(event: GiveUp) -> None:
        codes = {exit.code for exit in event.exits}
        print(f"alarm: {len(event.exits)} workers ended within {event.period:g} seconds, with exit code {codes}")

    async with cluster:
        try:
            await cluster.serve_forever()
        except RestartLimitError as error:
            print(f"gave up: {error}")


if __name__ == "__main__":
    asyncio.run(main())
