"""Where the files of named clusters are: sockets in the user's runtime folder, logs and memories in the state folder.

================  =====================================================================================
runtime folder    ``$XDG_RUNTIME_DIR/aiocluster``, else ``/run/user/UID/aiocluster``, else ``aiocluster-UID`` in the
                  folder for temporary files. The files in it are gone after a reboot.
state folder      ``$XDG_STATE_HOME/aiocluster``, or ``~/.local/state/aiocluster``
================  =====================================================================================

Only their owner may read them (0700). One that belongs to somebody else, or that is a symbolic link, is not used: who
can write there could put a socket of their own in place of ours.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_PRIVATE = 0o700


class FolderError(OSError):
    """A folder can't be used; the text says why."""


def runtime_folders() -> Iterator[Path]:
    """Yields where the runtime folder may be, the best place first."""
    uid = os.geteuid()
    of_login = Path(f"/run/user/{uid}")
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given) and Path(given) != of_login and _is_own_folder(Path(given)):
        yield Path(given) / "aiocluster"  # a place apart, on purpose: only there
        return
    if _is_own_folder(of_login):
        yield of_login / "aiocluster"
    if temporary := _temporary_folder():
        yield temporary / f"aiocluster-{uid}"


def runtime_folder() -> Path:
    """Returns the runtime folder, which it makes if there is none.

    Raises:
        FolderError: None of the places can be used.
    """
    errors = []
    for place in runtime_folders():
        try:
            return private(place)
        except OSError as error:
            errors.append(f"{place}: {error.strerror or error}")
    raise FolderError("; ".join(errors) or "there is no folder for temporary files")


def existing_runtime_folders() -> list[Path]:
    """Returns the runtime folders that are there. A cluster may have been started where the first place was missing."""
    return [place for place in runtime_folders() if is_private(place)]


def state_folder() -> Path:
    """Returns the state folder, which it makes if there is none.

    Raises:
        FolderError: There is no home folder, or it can't be written.
    """
    return private(_state_folder())


def existing_state_folder() -> Path | None:
    """Returns the state folder if it is there."""
    try:
        folder = _state_folder()
    except FolderError:
        return None
    return folder if is_private(folder) else None


def _state_folder() -> Path:
    given = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "aiocluster"
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        raise FolderError("there is no home folder: set HOME, or XDG_STATE_HOME")
    return Path(home) / ".local/state/aiocluster"


def private(folder: Path) -> Path:
    """Returns the folder, which only this user may use. It is made if it is not there.

    Raises:
        FolderError: It belongs to somebody else, or is no folder.
        OSError: It can't be made.
    """
    try:
        folder.mkdir(mode=_PRIVATE, parents=True)
    except FileExistsError:
        pass
    if not is_private(folder):
        raise FolderError(f"{folder} is not a folder of this user's own (mode 0700)")
    return folder


def is_private(folder: Path) -> bool:
    """Whether it is a folder, and of this user's own. Rights of others are taken away."""
    try:
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return False
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.chmod(folder, _PRIVATE, follow_symlinks=True)
    except OSError:
        return False
    return True


def _is_own_folder(folder: Path) -> bool:
    try:
        found = folder.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _temporary_folder() -> Path | None:
    from tempfile import gettempdir

    try:
        return Path(gettempdir())
    except OSError:  # nothing can be written anywhere
        return None
