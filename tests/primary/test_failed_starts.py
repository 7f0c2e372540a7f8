"""A start that fails is one failed start: it says why, nothing is left of it, and the other workers stay."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

from aiocluster import Cluster, MessageTooLargeError, Primary, ReloadError, StartupError, WorkerProcess
from tests.connections.descriptors import descriptors_left

from .inside_failed_starts import leave_at_once, stay

METHODS: tuple[Literal["spawn", "template"], ...] = ("spawn", "template")


async def online(worker: WorkerProcess) -> None:
    """Waits until it is online; fails if it ends before."""
    is_online, has_ended = asyncio.ensure_future(worker.wait_for("online")), asyncio.ensure_future(worker.wait())
    try:
        await asyncio.wait({is_online, has_ended}, return_when=asyncio.FIRST_COMPLETED)
        assert not has_ended.done(), f"it ended: {worker.exit_code}, {worker.exit_signal}"
    finally:
        is_online.cancel()
        has_ended.cancel()


async def fork_online(primary: Primary) -> WorkerProcess:
    worker = await primary.fork()
    await online(worker)
    return worker


def fork_server_of(worker: WorkerProcess) -> psutil.Process:
    parent = psutil.Process(worker.pid).parent()
    assert parent is not None
    assert parent.pid != os.getpid()
    return parent


of_others: set[psutil.Process] = set()


@pytest.fixture(autouse=True)
def who_was_there() -> None:
    """Other tests of this process may have left a child that serves several of them, such as a Redis."""
    of_others.clear()
    of_others.update(psutil.Process().children())


def children() -> set[psutil.Process]:
    return set(psutil.Process().children()) - of_others


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    """A folder with a module whose import hangs once there is a file ``hang``; it tells by a file ``importing``."""
    (tmp_path / "hanging_target.py").write_text(
        "import asyncio, os, time\n"
        "open('importing', 'w').close()\n"
        "while os.path.exists('hang'): time.sleep(0.01)\n"
        "async def run(): await asyncio.Event().wait()\n"
    )
    return tmp_path


async def appears(path: Path) -> None:
    while not path.exists():
        await asyncio.sleep(0.01)


# ---- want of descriptors


@pytest.mark.parametrize("method", METHODS)
async def test_a_fork_with_any_number_of_free_descriptors(method: Literal["spawn", "template"]) -> None:
    async with Primary(stay, start_method=method) as primary:
        healthy = [await fork_online(primary) for _ in range(2)]
        forked: WorkerProcess | BaseException | None = None
        for free in range(21):
            before = len(os.listdir("/proc/self/fd"))
            with descriptors_left(free):
                (forked,) = await asyncio.gather(primary.fork(), return_exceptions=True)
            if isinstance(forked, WorkerProcess):
                await online(forked)
                forked.kill(signal.SIGKILL)
                await forked.wait_gone()
            else:
                assert isinstance(forked, OSError)
                assert forked.errno == errno.EMFILE
                assert set(primary.workers.values()) == set(healthy)
            await asyncio.sleep(0)
            while len(os.listdir("/proc/self/fd")) > before:
                await asyncio.sleep(0.01)
        assert isinstance(forked, WorkerProcess)  # 20 descriptors are enough
        assert all(one.is_connected() and not one.is_dead() for one in healthy)
        await fork_online(primary)


# ---- whatever else goes wrong


@pytest.mark.parametrize("method", METHODS)
async def test_arguments_and_variables_that_are_too_large(method: Literal["spawn", "template"]) -> None:
    async with Primary(stay, start_method=method) as primary:
        primary.setup(args=["x" * (65 * 1024 * 1024)])
        for _ in range(3):
            with pytest.raises(MessageTooLargeError):
                await primary.fork()
        assert not children()
        assert not primary.workers
        primary.setup(args=[])
        healthy = await fork_online(primary)
        with pytest.raises((MessageTooLargeError, OSError)):  # an OSError of execve(2) with spawn
            await primary.fork({"LARGE": "x" * (65 * 1024 * 1024)})
        assert list(primary.workers.values()) == [healthy]
        assert healthy.is_connected()
        await fork_online(primary)


@pytest.mark.parametrize("method", METHODS)
async def test_a_process_that_can_not_be_watched_is_ended(
    method: Literal["spawn", "template"], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Primary(stay, start_method=method) as primary:
        healthy = await fork_online(primary)
        before = children() | set(psutil.Process().children(recursive=True))

        def refused(*args: Any) -> None:
            raise OSError(errno.ENOSPC, "as epoll_ctl(2) at its limit")

        with monkeypatch.context() as patched:
            patched.setattr("aiocluster._wire.channel.Channel.attach", refused)
            with pytest.raises(OSError, match="epoll_ctl"):
                await primary.fork()
        while set(psutil.Process().children(recursive=True)) != before:
            await asyncio.sleep(0.01)
        assert list(primary.workers.values()) == [healthy]
        await fork_online(primary)


# ---- the fork server


async def test_a_fork_in_the_same_moment_as_an_end() -> None:
    async with Primary(stay, start_method="template") as primary:
        first = await fork_online(primary)
        with stopped(fork_server_of(first)):
            first.kill(signal.SIGKILL)
            forks = [asyncio.ensure_future(primary.fork()) for _ in range(5)]
            while psutil.Process(first.pid).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.01)
        for worker in await asyncio.gather(*forks):
            await online(worker)
        assert (await first.wait()).signal == signal.SIGKILL


async def test_a_fork_server_that_hangs_at_import_is_ended(hanging: Path) -> None:
    (hanging / "hang").touch()
    cluster = Cluster("hanging_target:run", workers=2, cwd=hanging, start_method="template", start_timeout=0.5)
    with pytest.raises(StartupError, match=r"had not imported the application after 0\.5 seconds \(start_timeout\)"):
        async with cluster:
            pass


async def test_a_reload_and_a_scale_with_a_fork_server_that_hangs(hanging: Path) -> None:
    cluster = Cluster("hanging_target:run", workers=1, cwd=hanging, start_method="template", start_timeout=5.0)
    async with cluster:
        (old,) = cluster.workers.values()
        (hanging / "hang").touch()
        with pytest.raises(ReloadError, match="had not imported the application after 5 seconds"):
            await cluster.reload()
        with pytest.raises(StartupError, match="had not imported the application after 5 seconds"):
            await cluster.scale(2)
        assert list(cluster.workers.values()) == [old]
        (hanging / "hang").unlink()
        await cluster.scale(2)
        await cluster.reload()
        assert old not in cluster.workers.values()


async def test_a_stopped_fork_server_is_replaced_and_its_workers_live_on() -> None:
    cluster = Cluster(stay, workers=2, start_method="template", start_timeout=5.0)
    async with cluster, cluster.events("online") as heard:
        killed, other = cluster.workers.values()
        fork_server = fork_server_of(killed)
        fork_server.suspend()
        killed.kill(signal.SIGKILL)
        new = (await anext(heard)).worker
        assert fork_server_of(new) != fork_server
        assert not fork_server.is_running()
        assert other.is_connected()
        assert not other.is_dead()


async def test_a_fork_server_that_is_killed_while_it_imports(hanging: Path) -> None:
    (hanging / "hang").touch()
    async with Primary("hanging_target:run", cwd=hanging, start_method="template") as primary:
        forks = [asyncio.ensure_future(primary.fork()) for _ in range(3)]
        await appears(hanging / "importing")
        (fork_server,) = children()
        fork_server.kill()
        for fork in forks:
            with pytest.raises(StartupError, match="before it had imported the application, by signal SIGKILL"):
                await fork
        (hanging / "hang").unlink()
        await fork_online(primary)


async def test_a_fork_server_that_is_killed_while_it_forks() -> None:
    async with Primary(stay, start_method="template") as primary:
        healthy = await fork_online(primary)
        fork_server = fork_server_of(healthy)
        fork_server.suspend()
        forks = [asyncio.ensure_future(primary.fork()) for _ in range(3)]
        await asyncio.sleep(0.05)  # their frames are sent
        fork_server.kill()
        for fork in forks:
            with pytest.raises(StartupError, match=r"^the fork server \(pid \d+\) ended, by signal SIGKILL$"):
                await fork
        assert healthy.is_connected()
        await fork_online(primary)


async def test_forks_that_are_cancelled(hanging: Path) -> None:
    (hanging / "hang").touch()
    async with Primary("hanging_target:run", cwd=hanging, start_method="template") as primary:

        async def cancelled(fork: asyncio.Future[Any]) -> None:
            fork.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fork

        importing = asyncio.ensure_future(primary.fork())
        await appears(hanging / "importing")
        await cancelled(importing)
        (hanging / "hang").unlink()
        healthy = await fork_online(primary)
        fork_server = fork_server_of(healthy)
        with stopped(fork_server):
            forking = [asyncio.ensure_future(primary.fork()) for _ in range(3)]
            await asyncio.sleep(0.05)  # their frames are sent
            for fork in forking:
                await cancelled(fork)
        for turns in range(20):  # wherever the fork has got to
            fork = asyncio.ensure_future(primary.fork())
            for _ in range(turns):
                await asyncio.sleep(0 if turns % 2 else 0.0005)
            fork.cancel()
            await asyncio.wait([fork])
            if not fork.cancelled():
                fork.result().kill(signal.SIGKILL)
        while len(fork_server.children()) > 1 or len(primary.workers) > 1:
            await asyncio.sleep(0.01)
        assert list(primary.workers.values()) == [healthy]
        assert fork_server_of(await fork_online(primary)) == fork_server


async def test_a_primary_is_left_while_its_fork_server_imports(hanging: Path) -> None:
    (hanging / "hang").touch()
    async with Primary("hanging_target:run", cwd=hanging, start_method="template") as primary:
        fork = asyncio.ensure_future(primary.fork())
        await appears(hanging / "importing")
    with pytest.raises(StartupError):
        await fork


async def test_a_fork_server_for_each_settings_in_use_and_no_others() -> None:
    async with Primary(leave_at_once, start_method="template") as primary:
        for number in range(4):
            primary.setup(env={"TENANT": str(number)})
            await (await primary.fork()).wait_gone()
        last = await the_only_child()
        primary.setup(graceful_timeout=1.0)
        assert last.is_running()
        primary.setup(target=stay)
        needed = await fork_online(primary)
        its_own = fork_server_of(needed)
        assert its_own != last
        primary.setup(target=leave_at_once)
        await (await primary.fork()).wait_gone()
        assert its_own.is_running()
        needed.kill(signal.SIGKILL)
        await needed.wait_gone()
        assert await the_only_child() not in (last, its_own)


async def the_only_child() -> psutil.Process:
    """Returns it once there is only one."""
    while len(found := children()) > 1:
        await asyncio.sleep(0.01)
    (child,) = found
    return child
