"""A silent worker's stdout and stderr as anyio byte streams."""

from __future__ import annotations

import os
from typing import IO

import anyio
from anyio.abc import ByteReceiveStream


class PipeStream(ByteReceiveStream):
    """The reading end of a pipe.

    Read it, or the worker blocks once the pipe (64 KiB on Linux) is full.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        os.set_blocking(pipe.fileno(), False)
        self._pipe = pipe

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Returns up to ``max_bytes`` bytes.

        Raises:
            anyio.EndOfStream: The worker has closed its end.
            anyio.ClosedResourceError: This stream has been closed.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._pipe.closed:
                raise anyio.ClosedResourceError
            try:
                data = os.read(self._pipe.fileno(), max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._pipe)
                continue
            if not data:
                raise anyio.EndOfStream
            return data

    async def aclose(self) -> None:
        """Closes this end; a worker that writes on gets ``BrokenPipeError``."""
        self.close()

    def close(self) -> None:
        """Closes this end at once. Idempotent."""
        if not self._pipe.closed:
            anyio.notify_closing(self._pipe)
            self._pipe.close()
