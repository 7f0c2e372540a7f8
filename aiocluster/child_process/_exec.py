"""``exec`` and ``exec_file``: run a program to its end, and return what it wrote."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, AnyStr, Generic, TypedDict, Unpack, overload

import anyio

from .._processes.pipes import PipeReader, PipeWriter
from .._processes.process import Process, start
from ..errors import ChildTimeoutError, MaxBufferError
from ._environment import environment
from ._stdio import Plan, Stdio, opened

StrPath = str | os.PathLike[str]

MAX_BUFFER = 200 * 1024
"""How many bytes a child may write to each of stdout and stderr unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Completed(Generic[AnyStr]):
    """A program that has ended.

    Attributes:
        stdout: What it wrote to its standard output.
        stderr: What it wrote to its standard error.
        code: Its exit code; None if a signal ended it.
        signal: The signal that ended it; else None.
    """

    stdout: AnyStr
    stderr: AnyStr
    code: int | None
    signal: signal.Signals | None


class _Options(TypedDict, total=False):
    """What `exec` and `exec_file` have in common; described there."""

    input: str | bytes | None
    cwd: StrPath | None
    env: Mapping[str, str] | None
    uid: int | None
    gid: int | None
    timeout: float | None
    max_buffer: int | None
    kill_signal: signal.Signals | int


@overload
async def exec(
    command: str, *, shell: StrPath = "/bin/sh", encoding: str = "utf-8", **options: Unpack[_Options]
) -> Completed[str]: ...
@overload
async def exec(
    command: str, *, shell: StrPath = "/bin/sh", encoding: None, **options: Unpack[_Options]
) -> Completed[bytes]: ...
async def exec(
    command: str,
    *,
    shell: StrPath = "/bin/sh",
    input: str | bytes | None = None,
    cwd: StrPath | None = None,
    env: Mapping[str, str] | None = None,
    uid: int | None = None,
    gid: int | None = None,
    timeout: float | None = None,
    max_buffer: int | None = MAX_BUFFER,
    kill_signal: signal.Signals | int = signal.SIGTERM,
    encoding: str | None = "utf-8",
) -> Completed[str] | Completed[bytes]:
    """Runs a command line in a shell, as Node's ``child_process.exec``, and returns what it wrote.

    Never put input of others into ``command``: the shell would run it. `exec_file` has no shell.

    It returns when the command has ended **and** nobody has its output open any more: what the command leaves running
    in the background holds it up, until the timeout at most.

    Args:
        command: The command line.
        shell: The shell, which is called with ``-c``.
        input: What it reads; None: ``/dev/null``.
        cwd: Its working directory; None: this process's.
        env: Its whole environment; None: this process's.
        uid: Its user; needs root.
        gid: Its group; needs root.
        timeout: Seconds that it may take; None: any time.
        max_buffer: Bytes that it may write to each of stdout and stderr; None: any number, all held in memory.
        kill_signal: What its process group is ended with if it takes too long, writes too much, or the caller is
            cancelled. What has not ended a second later is killed.
        encoding: How its output becomes str (bytes that are none of it become U+FFFD), and ``input`` bytes; None:
            bytes are returned.

    Returns:
        Its output and how it ended. An exit code other than 0 is no exception; what the shell can't find is code 127.

    Raises:
        ChildTimeoutError: It took too long. It is dead, and so is what it has started, but for what has left its
            process group.
        MaxBufferError: It wrote too much; the same goes for it. The error has what was read.
        OSError: The shell can't be started.
        LookupError: There is no such encoding.
    """
    argv = [os.fspath(shell), "-c", command]
    run = _Batch(argv, input, timeout, max_buffer, kill_signal, encoding)
    return await run.run(cwd=cwd, env=env, uid=uid, gid=gid)


@overload
async def exec_file(
    file: StrPath, args: Sequence[StrPath] = (), *, encoding: str = "utf-8", **options: Unpack[_Options]
) -> Completed[str]: ...
@overload
async def exec_file(
    file: StrPath, args: Sequence[StrPath] = (), *, encoding: None, **options: Unpack[_Options]
) -> Completed[bytes]: ...
async def exec_file(
    file: StrPath,
    args: Sequence[StrPath] = (),
    *,
    input: str | bytes | None = None,
    cwd: StrPath | None = None,
    env: Mapping[str, str] | None = None,
    uid: int | None = None,
    gid: int | None = None,
    timeout: float | None = None,
    max_buffer: int | None = MAX_BUFFER,
    kill_signal: signal.Signals | int = signal.SIGTERM,
    encoding: str | None = "utf-8",
) -> Completed[str] | Completed[bytes]:
    """Runs a program without a shell, as Node's ``child_process.execFile``, and returns what it wrote.

    Args:
        file: The program: a path, or a name that is looked for in ``PATH``.
        args: Its arguments, which nobody interprets.
        input: As for `exec`, as are all that follow.
        cwd: Its working directory; None: this process's.
        env: Its whole environment; None: this process's.
        uid: Its user; needs root.
        gid: Its group; needs root.
        timeout: Seconds that it may take; None: any time.
        max_buffer: Bytes that it may write to each of stdout and stderr; None: any number, all held in memory.
        kill_signal: What its process group is ended with.
        encoding: How its output becomes str; None: bytes are returned.

    Raises:
        OSError: It can't be started, such as FileNotFoundError or PermissionError.
        ChildTimeoutError: It took too long, and is dead; see `exec`.
        MaxBufferError: It wrote too much, and is dead; see `exec`.
        LookupError: There is no such encoding.
    """
    argv = [os.fspath(file), *(os.fspath(arg) for arg in args)]
    run = _Batch(argv, input, timeout, max_buffer, kill_signal, encoding)
    return await run.run(cwd=cwd, env=env, uid=uid, gid=gid)


class _TooMuch(Exception):
    """A stream has more than the limit."""


async def _feed(stdin: PipeWriter, data: bytes) -> None:
    async with stdin:
        with contextlib.suppress(anyio.BrokenResourceError):  # it need not read it
            await stdin.send(data)


class _Batch:
    """One program on its way to a `Completed`."""

    def __init__(
        self,
        argv: list[str],
        input: str | bytes | None,
        timeout: float | None,
        max_buffer: int | None,
        kill_signal: int,
        encoding: str | None,
    ) -> None:
        if encoding is not None:
            codecs.lookup(encoding)  # rather now than when it has run
        self._argv = argv
        self._input = input.encode(encoding or "utf-8") if isinstance(input, str) else input
        self._timeout = timeout
        self._max_buffer = max_buffer
        self._kill_signal = kill_signal
        self._encoding = encoding
        self._stdout = bytearray()
        self._stderr = bytearray()

    def __str__(self) -> str:
        return shlex.join(self._argv)

    async def run(
        self, *, cwd: StrPath | None, env: Mapping[str, str] | None, uid: int | None, gid: int | None
    ) -> Completed[Any]:
        await asyncio.sleep(0)  # may be cancelled before anything has been started
        with opened(Plan(("ignore" if self._input is None else "pipe", "pipe", "pipe"), has_channel=False)) as stdio:
            process = start(self._argv, stdio, env=environment(env, None), cwd=cwd, uid=uid, gid=gid, group=0)
        try:
            await self._within_limits(process, stdio)
        except BaseException:
            await process.end_group(self._kill_signal)
            raise
        finally:
            stdio.close()
            process.release()
        ended = process.ended.result()
        return Completed(self._text(self._stdout), self._text(self._stderr), ended.code, ended.signal)

    async def _within_limits(self, process: Process, stdio: Stdio) -> None:
        """Returns when it has ended and all of its output has been read."""
        try:
            async with asyncio.timeout(self._timeout), asyncio.TaskGroup() as tasks:
                for stream, buffer in ((stdio.stdout, self._stdout), (stdio.stderr, self._stderr)):
                    assert stream is not None
                    tasks.create_task(self._read(stream, buffer))
                if stdio.stdin is not None and self._input is not None:
                    tasks.create_task(_feed(stdio.stdin, self._input))
                await asyncio.shield(process.ended)
        except TimeoutError:
            text = f"{self} took longer than {self._timeout} seconds, and has been ended with all that it had started"
            raise ChildTimeoutError(text, self._text(self._stdout), self._text(self._stderr)) from None
        except ExceptionGroup as group:
            if group.subgroup(_TooMuch) is None:
                raise
            text = f"{self} wrote more than max_buffer={self._max_buffer} bytes to one stream, and has been ended"
            raise MaxBufferError(text, self._text(self._stdout), self._text(self._stderr)) from None

    async def _read(self, stream: PipeReader, buffer: bytearray) -> None:
        async for data in stream:
            buffer += data
            if self._max_buffer is not None and len(buffer) > self._max_buffer:
                del buffer[self._max_buffer :]
                raise _TooMuch

    def _text(self, buffer: bytearray) -> str | bytes:
        return bytes(buffer) if self._encoding is None else buffer.decode(self._encoding, "replace")
