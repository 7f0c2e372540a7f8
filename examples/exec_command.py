"""Run commands to the end and get their output.

Seeds 000, 001 and 003: ``exec`` uses a shell, so its command can be a pipeline. ``execFile`` uses no shell, so
something that looks like a variable or a second command is a plain argument. Both can limit the time and the size of
the output.
"""

import asyncio

from aiocluster import ChildTimeoutError, MaxBufferError, child_process


async def main() -> None:
    listed = await child_process.exec("printf 'b\\na\\n' | sort")
    print("exec, a pipeline:", listed.stdout.split(), "code", listed.code)

    failed = await child_process.exec("ls /there/is/no/such/folder")
    print("exec, a failure: code is 0:", failed.code == 0, "- it said something:", bool(failed.stderr))

    plain = await child_process.exec_file("echo", ["$HOME; ls"])
    print("exec_file, no shell:", plain.stdout.strip())

    try:
        await child_process.exec("sleep 60", timeout=0.2)
    except ChildTimeoutError:
        print("exec, too slow: the child is dead")

    try:
        await child_process.exec("yes", max_buffer=1000)
    except MaxBufferError as error:
        print("exec, too much: the child is dead, and wrote", len(error.stdout), "bytes before")


if __name__ == "__main__":
    asyncio.run(main())
