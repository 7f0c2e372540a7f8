"""What runs in the workers of `test_unix_paths`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Any

from aiocluster import current_worker, listen_fd
from aiocluster._wire import frames
from aiocluster._wire.endpoint import Endpoint
from aiocluster._worker.listening import unix


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """HTTP that answers with the pid."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        await reader.readuntil(b"\r\n\r\n")
        body = b"%d" % os.getpid()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()


async def serve(path: str) -> None:
    async with await asyncio.start_unix_server(answer, path) as server:
        await server.serve_forever()


async def serve_blocking(path: str) -> None:
    async with await asyncio.start_unix_server(answer, path) as server:
        os.set_blocking(server.sockets[0].fileno(), True)
        await server.serve_forever()


async def serve_without_its_file(path: str) -> None:
    """Its file is removed right after bind(2)."""
    bind = unix.bind

    def bind_and_unlink(path: Any, **options: Any) -> socket.socket:
        sock = bind(path, **options)
        os.unlink(path)
        return sock

    unix.bind = bind_and_unlink
    await serve(path)


async def serve_abstract(name: str, kind: str) -> None:
    path: Any = "\0" + name if kind == "text" else b"\0" + name.encode()
    await serve(path)


async def unlink_and_serve(path: str) -> None:
    """What many programs do before they listen."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    await serve(path)


async def serve_and_remove(path: str) -> None:
    """What many programs do when they end: it removes its files, by every way there is."""
    mine = f"{path}.{os.getpid()}"
    Path(mine).touch()
    try:
        await serve(path)
    finally:
        os.remove(mine)
        for remove in (os.remove, os.unlink, Path.unlink):
            remove(Path(path))


async def serve_and_close(path: str, *, cleanup: str = "") -> None:
    """Closes its server, says so, and stays."""
    options: dict[str, Any] = {"cleanup_socket": cleanup == "yes"} if cleanup else {}
    server = await asyncio.start_unix_server(answer, path, **options)
    server.close()
    await server.wait_closed()
    await current_worker().send("closed")
    await asyncio.get_running_loop().create_future()


async def serve_below_its_umask(folder: str) -> None:
    """Listens on relative paths in a folder of its own choice, with a umask of its own choice."""
    os.chdir(folder)
    os.umask(0o027)
    await asyncio.start_unix_server(answer, "text")
    await asyncio.start_unix_server(answer, os.fsdecode(b"bytes-\xff"))
    await current_worker().send("listening")
    await asyncio.get_running_loop().create_future()


async def tell_error(path: str) -> None:
    """Tells what listening on a path raises, and listens no more."""
    try:
        server = await asyncio.start_unix_server(answer, path)
    except OSError as error:
        await current_worker().send([error.errno, str(error)])
    else:
        server.close()
        await current_worker().send([None, ""])
    await asyncio.get_running_loop().create_future()


async def tell_error_of_descriptor(fd: str) -> None:
    try:
        await listen_fd(int(fd))
    except OSError as error:
        await current_worker().send(error.errno)
    else:
        await current_worker().send("listens")
    await asyncio.get_running_loop().create_future()


async def exchange_the_folder(own: str, roots: str) -> None:
    """Listens in a folder of its own, and has a link to another folder take this one's place."""
    os.mkdir(f"{own}/folder")
    server = await asyncio.start_unix_server(answer, f"{own}/folder/file")
    os.rename(f"{own}/folder", f"{own}/moved")
    os.symlink(roots, f"{own}/folder")
    server.close()
    await current_worker().send("closed")
    await asyncio.get_running_loop().create_future()


async def claim(path: str) -> None:
    """Claims to have bound a path where another process's socket is."""
    session = current_worker()._session
    endpoint = Endpoint(int(socket.AF_UNIX), int(socket.SOCK_STREAM), path=os.fsencode(path))
    found = os.stat(path)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("")  # a name that Linux chooses
    sock.listen()
    session.ports._requests[500] = endpoint, asyncio.get_running_loop().create_future()
    session.tell(frames.Listen(500, endpoint, 100, None, [], cleanup=True, is_listening=True))
    await session.ports._requests[500][1]
    session.ports._requests[500] = endpoint, asyncio.get_running_loop().create_future()
    session.channel.send(frames.Bound(500, [found.st_dev, found.st_ino]).encode(), [sock.fileno()])
    port = await session.ports._requests[500][1] if 500 in session.ports._requests else None
    if port is not None:
        port.close()
    await current_worker().send("claimed")
    await asyncio.get_running_loop().create_future()


async def closes_by_default(path: str) -> None:
    await serve_and_close(path)


async def closes_yes(path: str) -> None:
    await serve_and_close(path, cleanup="yes")


async def closes_no(path: str) -> None:
    await serve_and_close(path, cleanup="no")
