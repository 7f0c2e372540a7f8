"""The file of a shared Unix socket, as the primary removes it."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from typing import Self

from ..._wire.socket_file import ABSTRACT, inode_of
from .rights import Rights, acting_with, own_rights

logger = logging.getLogger("aiocluster.ports")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MERELY = getattr(os, "O_PATH", 0)  # Linux: the folder need not be readable


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a socket.

    Attributes:
        path: Its absolute path.
        inode: Its device and inode; None if it has been removed already. A newer server may have put another file in
            its place.
        rights: Those of who has made it; None: unknown.
        cleanup: Whether it is removed when its port closes; None: when the primary ends; False: it stays.
    """

    path: bytes
    inode: tuple[int, int] | None
    rights: Rights | None
    cleanup: bool | None

    @classmethod
    def of(cls, path: bytes, inode: list[int] | None, rights: Rights | None, cleanup: bool | None) -> Self | None:
        """The file of a socket that has just been bound to this path, see `inode_of`; None if the path is abstract."""
        if path.startswith(ABSTRACT):
            return None
        found = (inode[0], inode[1]) if inode is not None and len(inode) == 2 else None
        return cls(path, found, rights, cleanup)

    def remove(self) -> None:
        """Removes it, if it is still the same file and whoever has made it could remove it, too."""
        if self.rights is None or self.inode is None:
            return
        folder, name = os.path.split(self.path)
        try:
            with acting_with(self.rights):
                fd = os.open(folder, _FOLDER | _MERELY)
                try:  # in a folder that can't be exchanged between the two calls
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISSOCK(found.st_mode) and (found.st_dev, found.st_ino) == self.inode:
                        os.unlink(name, dir_fd=fd)
                finally:
                    os.close(fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.error("can't remove the Unix socket %r: %s", os.fsdecode(self.path), error.strerror or error)


def own_file(path: bytes) -> SocketFile | None:
    """The file of the socket that this process has bound to this path; None if it is abstract."""
    return SocketFile.of(path, inode_of(path), own_rights(), cleanup=True)
