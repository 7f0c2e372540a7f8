"""Lua scripts: what one does, nothing comes between. Redis keeps them under their hash until it is emptied."""

from __future__ import annotations

import hashlib
from typing import Any

import redis.exceptions as theirs

from .failure import RefusedError
from .line import Argument, Commands


class Script:
    """A script with one key, so that a Redis Cluster runs it as a single server does.

    Args:
        text: Lua, with ``KEYS[1]`` and ``ARGV``.
    """

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        self._sha = hashlib.sha1(self._text, usedforsecurity=False).hexdigest().encode()

    async def run(self, line: Commands, key: bytes, *arguments: Argument) -> Any:
        """Returns what the script returns. One that the server does not know has done nothing, and is sent whole.

        Raises:
            RefusedError: It failed, or the server does not permit it.
            LostError: There is no reply.
        """
        try:
            return await line.call(b"EVALSHA", self._sha, 1, key, *arguments)
        except RefusedError as error:
            if not isinstance(error.__cause__, theirs.NoScriptError):
                raise
        return await line.call(b"EVAL", self._text, 1, key, *arguments)
