"""Workers that fail again and again.

Workers that can't work are not restarted for ever. Here each worker ends as soon as it is online. The cluster replaces
ten of them and then gives up, as its `RestartPolicy` says. A handler of the event ``give_up`` can alert somebody.
``serve_forever`` raises `RestartLimitError`.

    $ python give_up.py
    alarm: 11 workers ended within 60 seconds, with exit code {3}
    gave up: more than 10 workers ended unasked within 60 seconds: no more replacements
    …
    the last one: worker 11 ended by exit code 3
"""

import asyncio
import sys

from aiocluster import Cluster, RestartLimitError, RestartPolicy
from aiocluster.events import GiveUp


def fail() -> None:
    """The worker."""
    sys.exit(3)


async def main() -> None:
    policy = RestartPolicy(limit=10, period=60.0, backoff=(0.0, 0.0))  # no wait between replacements in this example
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
