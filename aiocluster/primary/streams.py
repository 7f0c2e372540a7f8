"""A silent worker's stdout and stderr as anyio byte streams."""

from __future__ import annotations

import os

import anyio
from anyio.abc import ByteReceiveStream


class PipeStream(ByteReceiveStream):
    """The reading end of a pipe; what the worker has written can still be read when it is gone.

    Read it, or the worker blocks once the pipe (64 KiB on Linux) is full. It closes itself at its end, and with its
    `Primary`.

    Args:
        fd: The descriptor, which the stream owns.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._is_at_end = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Returns up to ``max_bytes`` bytes.

        Raises:
            anyio.EndOfStream: The worker has closed its end, and all has been read.
            anyio.ClosedResourceError: This stream has been closed.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._fd < 0:
                raise anyio.EndOfStream if self._is_at_end else anyio.ClosedResourceError
            try:
                data = os.read(self._fd, max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._fd)
                continue
            if not data:
                self._is_at_end = True
                self.close()
                raise anyio.EndOfStream
            return data

    async def aclose(self) -> None:
        """Closes this end; a worker that writes on gets ``BrokenPipeError``. Idempotent."""
        self.close()

    def close(self) -> None:
        """Does the same at once."""
        if self._fd >= 0:
            anyio.notify_closing(self._fd)
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
