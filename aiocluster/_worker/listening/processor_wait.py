"""How long a thread that could have run has waited for a processor, because others ran."""

from __future__ import annotations

import os


class ProcessorWait:
    """Reads that of the thread in which it is first asked. Where the kernel does not tell, it is 0.

    Linux tells it in ``/proc/thread-self/schedstat``, in nanoseconds, as the second of three numbers.
    """

    def __init__(self) -> None:
        self._fd: int | None = None
        self._is_told = True

    def seconds(self) -> float:
        """The sum so far, in seconds."""
        if not self._is_told:
            return 0.0
        try:
            if self._fd is None:
                self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            return int(os.pread(self._fd, 80, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # another kernel, or no descriptors left
            self._is_told = False
            return 0.0

    def close(self) -> None:
        """Closes its file. It opens it again when it is asked again, perhaps in another thread."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
