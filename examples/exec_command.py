"""Run a command to its end.

``exec`` uses a shell, so its command can be a pipeline. ``exec_file`` uses none, so what looks like a variable or a
second command is a plain argument. Both can limit the time and the output. They are Node's ``exec`` and ``execFile``.

    $ python exec_command.py
    exec, a pipeline: ['a', 'b'] code 0
    exec, a failure: code is 0: False - it said something: True
    exec_file, no shell: $HOME; ls
    exec, too slow: the child is dead
    exec, too much: the child is dead, and wrote 1000 bytes before
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
