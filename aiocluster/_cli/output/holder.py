"""Who has an address: found in /proc, as far as this process may look."""

from __future__ import annotations

import os
import pwd
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

_WITHIN = 1.0  # seconds
_MOST_COMMAND = 60  # characters
_LISTENING = "0A"  # the state of a TCP socket, TCP_LISTEN in the kernel's include/net/tcp_states.h
_ACCEPTS = 0x10000  # the flag of a Unix socket, __SO_ACCEPTCON in include/uapi/linux/net.h


@dataclass(frozen=True, slots=True)
class _Socket:
    inode: str
    uid: int | None


def holder_of(address: str) -> str:
    """Returns who listens there, as in ``pid 4711 (python3 -m http.server)``; "" if that is not known.

    If only the owner of the socket is known, because the process is another user's: ``user postgres``.

    Args:
        address: ``"127.0.0.1:8000"``, ``"[::1]:8000"`` or ``"unix:/path"``.
    """
    sockets = {found.inode: found for found in _sockets(address)}
    if not sockets:
        return ""
    deadline = time.monotonic() + _WITHIN
    names = {f"socket:[{inode}]" for inode in sockets}
    for pid in _pids():
        if time.monotonic() > deadline:
            break
        if _has_one(pid, names):
            command = _command(pid)
            return f"pid {pid} ({command})" if command else f"pid {pid}"
    uid = next((found.uid for found in sockets.values() if found.uid is not None), None)
    return "" if uid is None else f"a process of user {_user(uid)}"


def _sockets(address: str) -> Iterator[_Socket]:
    if address.startswith("unix:"):
        yield from _unix_sockets(os.path.abspath(address.removeprefix("unix:")))
        return
    host, _, port = address.rpartition(":")
    host = host.strip("[]").partition("%")[0]
    wanted = f"{int(port):04X}"
    for table in ("tcp", "tcp6"):
        for line in _lines(f"/proc/net/{table}"):
            fields = line.split()
            found_host, _, found_port = fields[1].partition(":")
            if fields[3] == _LISTENING and found_port == wanted and _is_same(host, _decoded(found_host)):
                yield _Socket(fields[9], int(fields[7]))


def _unix_sockets(path: str) -> Iterator[_Socket]:
    for line in _lines("/proc/net/unix"):
        fields = line.rstrip("\n").split(maxsplit=7)
        if len(fields) == 8 and os.path.abspath(fields[7]) == path and int(fields[3], 16) & _ACCEPTS:
            yield _Socket(fields[6], None)


def _lines(path: str) -> list[str]:
    try:
        with open(path, errors="surrogateescape") as file:
            return file.readlines()[1:]
    except OSError:
        return []


def _decoded(digits: str) -> str:
    """Returns an address of /proc/net/tcp: words of 32 bits, each in this machine's byte order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


def _is_same(wanted: str, found: str) -> bool:
    """Whether who listens on one of these hosts has the other one, too."""
    return wanted == found or bool({wanted, found} & {"0.0.0.0", "::"})


def _pids() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    except OSError:
        return []


def _has_one(pid: str, names: set[str]) -> bool:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") in names:
                    return True
            except FileNotFoundError:
                continue
    except OSError:  # it is another user's, or has ended
        pass
    return False


def _command(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            program, *arguments = file.read(4096).rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    text = b" ".join([os.path.basename(program), *arguments]).decode(errors="replace")
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _MOST_COMMAND else text[: _MOST_COMMAND - 1] + "…"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
