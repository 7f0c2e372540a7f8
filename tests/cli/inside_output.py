"""What `test_output` has the command run: a server that writes what it is asked to, in one slot or in any."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback

from aiocluster import current_worker, exclusive


def fail() -> None:
    try:
        raise ValueError("of test")
    except ValueError:
        traceback.print_exc()


def flood(size: int) -> None:
    """Writes so many bytes in numbered lines of 100 bytes."""
    for number in range(size // 100):
        sys.stdout.write(f"{number:099}\n")
    sys.stdout.flush()


def do(what: str, text: str) -> None:
    match what:
        case "print":
            print(text, end="", flush=True)
        case "complain":
            print(text, end="", file=sys.stderr, flush=True)
        case "fail":
            fail()
        case "flood":
            flood(int(text))
        case "exit":
            os._exit(int(text))
        case "ask for the terminal":
            print(sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size(1).columns, flush=True)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    what, text = json.loads(await reader.readline())
    do(what, text)
    writer.write(b"done\n")
    writer.close()
    await writer.wait_closed()


async def serve() -> None:
    """Listens at a path that all workers share, and at another one with the slot at its end."""
    path = sys.argv[1]
    with exclusive():
        own = await asyncio.start_unix_server(answer, f"{path}.{current_worker().slot}")
    async with own, await asyncio.start_unix_server(answer, path) as shared:
        await shared.serve_forever()
