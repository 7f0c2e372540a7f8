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
from typing import Any, AnyStr, Generic, TypedDict, TypeVar, Unpack, overload

import anyio

from .._checks import arguments, number, whole_number
from .._processes.start import environment, start
from .._processes.stdio import PipeReader, PipeWriter, Stdio, open_stdio
from .._processes.watch import OwnProcess
from ..errors import ChildTimeoutError, MaxBufferError

StrPath = str | os.PathLike[str]

_Failure = TypeVar("_Failure", ChildTimeoutError, MaxBufferError)

MAX_BUFFER = 200 * 1024
"""The default limit, in bytes, on what a child may write to each of stdout and stderr."""


@dataclass(frozen=True, slots=True)
class Completed(Generic[AnyStr]):
    """A program that has ended.

    Attributes:
        stdout: What it wrote to stdout.
        stderr: What it wrote to stderr.
        code: Its exit code; None if a signal ended it.
        signal: The signal that ended it; else None.
    """

    stdout: AnyStr
    stderr: AnyStr
    code: int | None
    signal: signal.Signals | None


class _Keywords(TypedDict, total=False):
    """The options of `exec` and `exec_file` for the type checker: all of `_Options` except ``encoding``."""

    input: str | bytes | None
    cwd: StrPath | None
    env: Mapping[str, str] | None
    uid: int | None
    gid: int | None
    timeout: float | None
    max_buffer: int | None
    kill_signal: signal.Signals | int


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of `exec` and `exec_file`, checked. `exec` documents them."""

    input: str | bytes | None = None
    cwd: StrPath | None = None
    env: Mapping[str, str] | None = None
    uid: int | None = None
    gid: int | None = None
    timeout: float | None = None
    max_buffer: int | None = MAX_BUFFER
    kill_signal: signal.Signals | int = signal.SIGTERM
    encoding: str | None = "utf-8"

    def __post_init__(self) -> None:
        if self.timeout is not None:
            number("timeout", self.timeout, at_least=0, unit="seconds")
        if self.max_buffer is not None:
            whole_number("max_buffer", self.max_buffer, at_least=0, unit="bytes")
        if self.encoding is not None:
            codecs.lookup(self.encoding)  # fail now, not after the program has run


@overload
async def exec(
    command: str, *, shell: StrPath = "/bin/sh", encoding: str = "utf-8", **options: Unpack[_Keywords]
) -> Completed[str]: ...
@overload
async def exec(
    command: str, *, shell: StrPath = "/bin/sh", encoding: None, **options: Unpack[_Keywords]
) -> Completed[bytes]: ...
async def exec(
    command: str, *, shell: StrPath = "/bin/sh", encoding: str | None = "utf-8", **options: Unpack[_Keywords]
) -> Completed[str] | Completed[bytes]:
    """Runs a command line in a shell, like Node's ``child_process.exec``, and returns what it wrote.

    Never put untrusted input into ``command``: the shell would run it. `exec_file` uses no shell.

    It returns when the command has ended **and** no process has its output open any more. A background process that
    the command leaves running therefore delays it, until the timeout at most.

    Args:
        command: The command line.
        shell: The shell, run with ``-c``.
        encoding: The encoding of its output, in which invalid bytes become U+FFFD, and of ``input``; None: the output
            is returned as bytes.
        **options: See below.

    Keyword Args:
        input (str | bytes | None): Its stdin; None, the default: ``/dev/null``.
        cwd (StrPath | None): Its working directory; None, the default: this process's.
        env (Mapping[str, str] | None): Its complete environment; None, the default: this process's.
        uid (int | None): Its user; needs root.
        gid (int | None): Its group; needs root. None: with another ``uid``, that user's own group (passwd(5)).
        timeout (float | None): Seconds that it may take; None, the default: no limit.
        max_buffer (int | None): Bytes that it may write to each of stdout and stderr, 200 KiB by default; None: no
            limit. All of it is held in memory.
        kill_signal (signal.Signals | int): The signal for its process group if it takes too long, writes too much, or
            the caller is cancelled: SIGTERM by default. One second later, what is left gets SIGKILL.

    Returns:
        Its output and how it ended. An exit code other than 0 raises nothing; 127 means that the shell did not find it.

    Raises:
        ChildTimeoutError: It took too long. It and all processes that it started have been ended, except those that
            left its process group. The error holds what was read.
        MaxBufferError: It wrote too much. Otherwise the same.
        OSError: The shell can't be started.
        LookupError: There is no such encoding.
        ValueError: A number is out of its range; the text names it.
        TypeError: A value is not a number, or there is no such option; the text names it.
    """
    return await _Execution([os.fspath(shell), "-c", command], _checked("exec", encoding, options)).run()


@overload
async def exec_file(
    file: StrPath, args: Sequence[StrPath] = (), *, encoding: str = "utf-8", **options: Unpack[_Keywords]
) -> Completed[str]: ...
@overload
async def exec_file(
    file: StrPath, args: Sequence[StrPath] = (), *, encoding: None, **options: Unpack[_Keywords]
) -> Completed[bytes]: ...
async def exec_file(
    file: StrPath, args: Sequence[StrPath] = (), *, encoding: str | None = "utf-8", **options: Unpack[_Keywords]
) -> Completed[str] | Completed[bytes]:
    """Runs a program without a shell, like Node's ``child_process.execFile``, and returns what it wrote.

    Args:
        file: The program: a path, or a name that is looked for in ``PATH``.
        args: Its arguments, passed on unchanged.
        encoding: As for `exec`.
        **options: Those of `exec`: ``input``, ``cwd``, ``env``, ``uid``, ``gid``, ``timeout``, ``max_buffer``,
            ``kill_signal``.

    Returns:
        Its output and how it ended. An exit code other than 0 raises nothing.

    Raises:
        OSError: It can't be started, such as FileNotFoundError or PermissionError.
        ChildTimeoutError: It took too long, and is dead; see `exec`.
        MaxBufferError: It wrote too much, and is dead; see `exec`.
        LookupError: There is no such encoding.
        ValueError: A number is out of its range; the text names it.
        TypeError: ``args`` is one text, a value is not a number, or there is no such option; the text names it.
    """
    argv = [os.fspath(file), *map(os.fspath, arguments("args", args))]
    return await _Execution(argv, _checked("exec_file", encoding, options)).run()


def _checked(function: str, encoding: str | None, options: _Keywords) -> _Options:
    for name in options.keys() - _Keywords.__optional_keys__:
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
    return _Options(encoding=encoding, **options)


class _TooMuch(Exception):
    """A stream has carried more bytes than the limit."""


async def _feed(stdin: PipeWriter, data: bytes) -> None:
    async with stdin:
        with contextlib.suppress(anyio.BrokenResourceError):  # the program may end without reading it
            await stdin.send(data)


class _Execution:
    """One run of a program."""

    def __init__(self, argv: list[str], options: _Options) -> None:
        self._argv = argv
        self._options = options
        self._stdout = bytearray()
        self._stderr = bytearray()

    def __str__(self) -> str:
        return shlex.join(self._argv)

    async def run(self) -> Completed[Any]:
        options = self._options
        data = options.input.encode(options.encoding or "utf-8") if isinstance(options.input, str) else options.input
        await asyncio.sleep(0)  # a pending cancellation takes effect before anything is started
        with open_stdio("ignore" if data is None else "pipe", "pipe", "pipe") as stdio:
            process = start(
                self._argv,
                stdio.theirs,
                env=environment(options.env, {}),
                cwd=options.cwd,
                uid=options.uid,
                gid=options.gid,
                group=0,
            )
        try:
            await self._within_limits(process, stdio, data)
        except BaseException:
            await process.end_group(options.kill_signal)
            raise
        finally:
            stdio.close()
            process.release()
        ended = process.ended.result()
        return Completed(self._text(self._stdout), self._text(self._stderr), ended.code, ended.signal)

    async def _within_limits(self, process: OwnProcess, stdio: Stdio, data: bytes | None) -> None:
        """Returns when the program has ended and all its output has been read."""
        options = self._options
        try:
            async with asyncio.timeout(options.timeout), asyncio.TaskGroup() as tasks:
                for stream, buffer in ((stdio.stdout, self._stdout), (stdio.stderr, self._stderr)):
                    assert stream is not None
                    tasks.create_task(self._read(stream, buffer))
                if stdio.stdin is not None and data is not None:
                    tasks.create_task(_feed(stdio.stdin, data))
                await asyncio.shield(process.ended)
        except TimeoutError:
            text = f"{self} took longer than {options.timeout} seconds, and has been ended with all that it had started"
            raise self._failed(ChildTimeoutError(text)) from None
        except ExceptionGroup as group:
            if group.subgroup(_TooMuch) is None:
                raise
            text = f"{self} wrote more than max_buffer={options.max_buffer} bytes to one stream, and has been ended"
            raise self._failed(MaxBufferError(text)) from None

    async def _read(self, stream: PipeReader, buffer: bytearray) -> None:
        limit = self._options.max_buffer
        async for data in stream:
            buffer += data
            if limit is not None and len(buffer) > limit:
                del buffer[limit:]
                raise _TooMuch

    def _failed(self, error: _Failure) -> _Failure:
        """Adds the output read so far to the error."""
        error.stdout, error.stderr = self._text(self._stdout), self._text(self._stderr)
        return error

    def _text(self, buffer: bytearray) -> str | bytes:
        encoding = self._options.encoding
        return bytes(buffer) if encoding is None else buffer.decode(encoding, "replace")
