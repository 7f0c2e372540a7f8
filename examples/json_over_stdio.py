"""JSON over standard input and output.

Two programs exchange JSON, one text on each line. Neither needs a library, and the child can be written in any
language. Where both are Python, a channel is simpler: see `fork_messages.py`.

    $ python json_over_stdio.py
    the child says {'numbers': [1, 2, 3], 'sum': 6}
    the child says {'numbers': [40, 2], 'sum': 42}
"""

import asyncio
import json
import sys

from anyio.streams.buffered import BufferedByteReceiveStream

from aiocluster import child_process


def child() -> None:
    """The child does not use aiocluster."""
    for line in sys.stdin:
        numbers = json.loads(line)
        print(json.dumps({"numbers": numbers, "sum": sum(numbers)}), flush=True)


async def main() -> None:
    async with await child_process.spawn(
        sys.executable, [__file__, "child"], stdio=("pipe", "pipe", "inherit")
    ) as summer:
        assert summer.stdin is not None
        assert summer.stdout is not None
        lines = BufferedByteReceiveStream(summer.stdout)
        for numbers in ([1, 2, 3], [40, 2]):
            await summer.stdin.send(json.dumps(numbers).encode() + b"\n")
            print("the child says", json.loads(await lines.receive_until(b"\n", 1000)))
        await summer.stdin.aclose()
        await summer.wait()


if __name__ == "__main__":
    if "child" in sys.argv:
        child()
    else:
        asyncio.run(main())
