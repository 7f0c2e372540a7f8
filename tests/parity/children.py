"""What the children of the parity tests do: ``children.py NAME ARGUMENT…`` runs the function of that name."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from aiocluster.child_process import Parent, fork, parent, spawn


def connected() -> Parent:
    found = parent()
    assert found is not None
    return found


async def nothing() -> None: ...


async def stay() -> None:
    await asyncio.get_running_loop().create_future()


async def echo() -> None:
    """Sends back what comes, with its sockets, until the channel is closed."""
    up = connected()
    messages = up.messages()
    async for message in messages:
        await up.send(message, messages.handles)


async def describe(*args: str) -> None:
    """Says what it was started with."""
    await connected().send([list(args), dict(os.environ)])


async def say(text: str, times: str) -> None:
    await connected().send(text * int(times))


async def take(what: str) -> None:
    """Serves the sockets that come: writes on a connection, answers datagrams, accepts connections."""
    up = connected()
    loop = asyncio.get_running_loop()
    messages = up.messages()
    held: list[socket.socket] = []
    async for message in messages:
        for sock in messages.handles:
            if what == "listen":
                await up.send("listening")
                connection, _ = await loop.sock_accept(sock)
                connection.sendall(b"child")
                connection.close()
                sock.close()
            elif what == "datagrams":
                await up.send("bound")
                data, peer = await loop.sock_recvfrom(sock, 100)
                await loop.sock_sendto(sock, b"child heard " + data, peer)
                sock.close()
            else:
                await loop.sock_sendall(sock, message.encode())
                if what == "hold":
                    held.append(sock)
                else:
                    sock.close()
                    await up.send("done")
    for sock in held:
        await loop.sock_sendall(sock, b" end")
        sock.close()


async def run_cat() -> None:
    """A child of this one's with the same streams."""
    child = await spawn("cat", stdio="inherit")
    await child.wait()


async def leave_one_behind() -> None:
    """Starts a detached one, says its pid, and ends."""
    child = await fork(__file__, ["stay"], detached=True, stdio=("ignore", "ignore", "ignore", "ipc"))
    print(child.pid, flush=True)


async def forget_one() -> None:
    await fork(__file__, ["nothing"])


def main(name: str, *args: str) -> None:
    asyncio.run(globals()[name](*args))


if __name__ == "__main__":
    main(*sys.argv[1:])
