"""Read a command's output while it runs.

``spawn`` is for commands that run long or write much. With ``stdio`` as ``"pipe"``, the default, somebody has to read
the output. With ``"inherit"`` the child writes to this program's own streams. With ``"ignore"`` its output is
discarded. It is Node's ``spawn``.

    $ python spawn_streams.py
    cat runs, and has written: one
    cat runs, and has written: two
    cat runs, and has written: three
    closing code: 0
    inherited: echo wrote this
    ignored: there is a stream to read from: False
"""

import asyncio
import sys

from aiocluster import child_process


async def main() -> None:
    async with await child_process.spawn("cat") as cat:  # it writes what it reads
        assert cat.stdin is not None
        assert cat.stdout is not None
        for word in (b"one", b"two", b"three"):
            await cat.stdin.send(word)
            print("cat runs, and has written:", (await cat.stdout.receive()).decode())
        await cat.stdin.aclose()
        ended = await cat.wait()
        print("closing code:", ended.code)

    sys.stdout.flush()
    async with await child_process.spawn("echo", ["inherited: echo wrote this"], stdio="inherit") as echo:
        await echo.wait()
    async with await child_process.spawn("echo", ["nobody sees this"], stdio=("ignore", "ignore", "inherit")) as echo:
        print("ignored: there is a stream to read from:", echo.stdout is not None)
        await echo.wait()


if __name__ == "__main__":
    asyncio.run(main())
