"""Unix sockets as the worker would have bound them alone: its rights, its files, its errors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from aiocluster import Cluster, Primary
from aiocluster._primary.ports import backend, turns
from aiocluster.events import Address
from aiocluster.settings import Loop
from tests.support.serving import Client, ask, in_worker, serving

INSIDE = "tests.connections.inside_unix"
NOBODY: dict[str, Any] = {"uid": 65534, "gid": 65534, "start_method": "template", "loop": "asyncio"}
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@contextlib.contextmanager
def listening_at(path: Path, backlog: int = 100) -> Iterator[socket.socket]:
    """A server that is not ours."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen(backlog)
        yield sock


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users may enter. Not below pytest's own, which each run of pytest closes to others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


# ---- rights and places


async def test_its_umask_and_its_directory(tmp_path: Path, worker_loop: Loop) -> None:
    async with Primary(f"{INSIDE}:serve_below_its_umask", args=[str(tmp_path)], loop=worker_loop) as primary:
        async with primary.events("message") as heard:
            await primary.fork()
            await anext(heard)
        modes = {name: stat.S_IMODE(os.stat(tmp_path / os.fsdecode(name)).st_mode) for name in os.listdir(tmp_path)}
        assert modes == {"text": 0o750, os.fsdecode(b"bytes-\xff"): 0o750}


@needs_root
async def test_the_file_is_its_users(public: Path) -> None:
    os.chown(public, 65534, 65534)
    path = public / "socket"
    async with Primary(f"{INSIDE}:serve", args=[str(path)], **NOBODY) as primary, primary.events("listening") as heard:
        await primary.fork()
        await anext(heard)
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)
    assert not path.exists()


@needs_root
async def test_a_folder_that_its_user_may_not_write_to(public: Path) -> None:
    async with Primary(f"{INSIDE}:tell_error", args=[str(public / "socket")], **NOBODY) as primary:
        async with primary.events("message") as heard:
            await primary.fork()
            assert (await anext(heard)).message == [errno.EACCES, "[Errno 13] Permission denied"]
    assert not os.listdir(public)


@needs_root
async def test_a_path_that_the_user_gave_to_the_primary(public: Path) -> None:
    """It goes by the primary's rights: the worker may not even look at it. The file is the worker's."""
    folder = public / "roots"
    folder.mkdir(mode=0o700)
    path = folder / "socket"
    async with Primary(f"{INSIDE}:serve", args=[str(path)], **NOBODY) as primary, primary.events("listening") as heard:
        address = await primary.listen(path=str(path), mode=0o600)
        worker = await primary.fork()
        assert (await anext(heard)).address == address
        assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (65534, 65534, 0o600)
        assert await ask(address) == worker.pid
    assert not path.exists()


@needs_root
@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
async def test_clients_see_the_credentials_of_the_worker(public: Path) -> None:
    """Those of whoever called listen(2), see SO_PEERCRED in unix(7): not root's, and no primary's."""
    os.chown(public, 65534, 65534)
    path = str(public / "socket")
    async with Primary(f"{INSIDE}:serve", args=[path], **NOBODY) as primary, primary.events("listening") as heard:
        worker = await primary.fork()
        await anext(heard)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        assert struct.unpack("3i", credentials) == (worker.pid, 65534, 65534)


# ---- the same socket by its inode


@pytest.mark.parametrize("scheduling", ["round_robin", "shared"])
async def test_unlinked_before_each_worker_listens(tmp_path: Path, scheduling: str, worker_loop: Loop) -> None:
    """The last one's socket is the port's, and whoever connects to it reaches all workers."""
    path = str(tmp_path / "socket")
    address = Address("unix", path=path)
    settings: dict[str, Any] = {"scheduling": scheduling, "loop": worker_loop}
    async with Primary(f"{INSIDE}:unlink_and_serve", args=[path], **settings) as primary:
        async with primary.events("listening") as heard:
            workers = {(await primary.fork()).pid for _ in range(3)}
            for _ in range(3):
                assert (await anext(heard)).address == address
        answers = Counter([await ask(address) for _ in range(6)])
        assert scheduling == "shared" or answers == dict.fromkeys(workers, 2)
        assert set(answers) <= workers


async def test_unlinked_as_soon_as_it_was_bound(tmp_path: Path) -> None:
    """Before the primary hears of the file: the next worker does not find it, and binds anew."""
    path = str(tmp_path / "socket")
    address = Address("unix", path=path)
    async with Primary(f"{INSIDE}:serve_without_its_file", args=[path], scheduling="round_robin") as primary:
        async with primary.events("listening") as heard:
            first = await primary.fork()
            await anext(heard)
            assert not os.path.exists(path)
            primary.setup(target=f"{INSIDE}:serve")
            second = await primary.fork()
            await anext(heard)
        assert sorted([await ask(address) for _ in range(4)]) == sorted([first.pid, second.pid] * 2)


async def test_unlinked_by_the_new_worker_of_a_reload(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    address = Address("unix", path=path)
    async with Cluster(f"{INSIDE}:unlink_and_serve", workers=1, args=[path]) as cluster:
        for _ in range(3):
            await cluster.reload()
            (worker,) = cluster.workers.values()
            assert await ask(address) == worker.pid


async def test_a_crashed_workers_replacement_gets_the_same_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    cluster = Cluster(f"{INSIDE}:serve", workers=1, args=[path])
    async with serving(cluster, 1) as address:
        inode = os.stat(path).st_ino
        for _ in range(3):
            (worker,) = cluster.workers.values()
            await ask(address)
            worker.kill(9)
            assert await ask(address) != worker.pid
            assert os.stat(path).st_ino == inode


async def test_clients_that_wait_at_an_unlinked_socket_are_served(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    address = Address("unix", path=path)
    target = f"{INSIDE}:unlink_and_serve"
    async with Primary(target, args=[path], scheduling="shared") as primary:
        async with primary.events("listening") as heard:
            first = await primary.fork()
            await anext(heard)
            psutil.Process(first.pid).suspend()
            clients = [await Client.connect(address) for _ in range(4)]
            for client in clients:
                await client.send()
            second = await primary.fork()
            await anext(heard)
        assert second.pid in [await ask(address) for _ in range(8)]
        psutil.Process(first.pid).resume()
        assert {await client.answer() for client in clients} <= {first.pid, second.pid}
        for client in clients:
            await client.close()


async def test_a_file_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    address = Address("unix", path=path)
    async with Primary(f"{INSIDE}:serve", args=[path]) as primary, primary.events("listening") as heard:
        first = await primary.fork()
        await anext(heard)
        os.unlink(path)
        second = await primary.fork()
        await anext(heard)
        assert sorted([await ask(address) for _ in range(4)]) == sorted([first.pid, second.pid] * 2)


@in_worker
async def test_its_own_path_once_more(folder: str) -> None:
    """A path on which this worker listens is in use; without its file, it isn't."""
    from .inside_unix import answer

    path = f"{folder}/socket"
    first = await asyncio.start_unix_server(answer, path)
    with pytest.raises(OSError, match=r"Address '.*' is already in use") as caught:
        await asyncio.start_unix_server(answer, path)
    assert caught.value.errno == errno.EADDRINUSE
    os.unlink(path)
    second = await asyncio.start_unix_server(answer, path)
    assert await ask(Address("unix", path=path)) == os.getpid()
    first.close()
    assert await ask(Address("unix", path=path)) == os.getpid()
    second.close()


async def test_one_file_by_two_paths(tmp_path: Path) -> None:
    """A deploy by a symbolic link to the current release: its socket is found by either path."""
    (tmp_path / "release").mkdir()
    (tmp_path / "current").symlink_to("release")
    address = Address("unix", path=str(tmp_path / "release" / "socket"))
    async with Primary(f"{INSIDE}:serve") as primary, primary.events("listening") as heard:
        workers = []
        for folder in ("release", "current"):
            primary.setup(args=[str(tmp_path / folder / "socket")])
            workers.append(await primary.fork())
            assert (await anext(heard)).address == address
        assert sorted([await ask(address), await ask(address)]) == sorted(worker.pid for worker in workers)


# ---- a stranger's socket


@pytest.mark.parametrize("backlog", [0, 100])
async def test_a_strangers_path(tmp_path: Path, backlog: int, worker_loop: Loop) -> None:
    """It stays the stranger's, and a stranger that is too busy to accept makes nobody wait."""
    path = tmp_path / "socket"
    with listening_at(path, backlog) as stranger, contextlib.ExitStack() as clients:
        for _ in range(2 - min(backlog, 1)):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(path))
        async with Primary(f"{INSIDE}:tell_error", args=[str(path)], loop=worker_loop) as primary:
            async with primary.events("message") as heard:
                await primary.fork()
                code, text = (await anext(heard)).message
            assert (code, text) == (
                errno.EADDRINUSE,
                f"[Errno {errno.EADDRINUSE}] Address {str(path)!r} is already in use",
            )
            began = time.monotonic()
            with pytest.raises(OSError):
                await primary.listen(path=str(path))
            assert time.monotonic() - began < 10  # it does not wait for the stranger to accept
        assert path.exists()
        stranger.accept()[0].close()


async def test_a_stale_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening_at(path):
        pass
    async with Primary(f"{INSIDE}:serve", args=[str(path)]) as primary, primary.events("listening") as heard:
        worker = await primary.fork()
        assert await ask((await anext(heard)).address) == worker.pid


# ---- the loop's own errors


PATHS: tuple[Any, ...] = (
    "",
    b"",
    "/proc/none/socket",
    "/dev/null/socket",
    "/tmp",
    b"/tmp",
    Path("/tmp"),
    "/tmp/a\0b",
    b"/tmp/a\0b",
    "/tmp/" + "a" * 200,
    "\0" + "a" * 200,
    5,
)


async def outcomes() -> list[str]:
    """What becomes of listening at paths that can't be bound."""
    from .inside_unix import answer

    found = []
    for path in PATHS:
        try:
            server: Any = await asyncio.start_unix_server(answer, path)
        except Exception as error:
            found.append(f"{path!r:.20}: {type(error).__name__} {getattr(error, 'errno', None)} {error}")
        else:
            server.close()
            found.append(f"{path!r:.20}: listens")
    return found


async def tell_outcomes() -> None:
    from aiocluster import current_worker

    await current_worker().send(await outcomes())
    await asyncio.get_running_loop().create_future()


# asyncio itself leaves the sockets of some of these calls unclosed.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_errors_of_the_path_are_the_loops_own(worker_loop: Loop) -> None:
    def without_a_cluster() -> list[str]:
        with asyncio.Runner(loop_factory=LOOPS[worker_loop]) as runner:
            return runner.run(outcomes())

    alone = await asyncio.to_thread(without_a_cluster)
    async with Primary(f"{__name__}:tell_outcomes", loop=worker_loop) as primary, primary.events("message") as heard:
        await primary.fork()
        assert (await anext(heard)).message == alone


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
@pytest.mark.parametrize("kind", ["text", "bytes"])
async def test_abstract_sockets_are_shared(kind: str, worker_loop: Loop) -> None:
    name = f"aiocluster-{os.getpid()}"
    settings: dict[str, Any] = {"args": [name, kind], "loop": worker_loop}
    async with Primary(f"{INSIDE}:serve_abstract", **settings) as primary, primary.events("listening") as heard:
        workers = [await primary.fork(), await primary.fork()]
        address = (await anext(heard)).address
        assert (await anext(heard)).address == address == Address("unix", path="\0" + name)
        assert sorted([await ask(address), await ask(address)]) == sorted(worker.pid for worker in workers)


# ---- who removes the file, and when


@pytest.mark.parametrize("cleanup", ["", "yes", "no"])
async def test_closing_does_with_the_file_what_asyncio_does(tmp_path: Path, cleanup: str, worker_loop: Loop) -> None:
    """From Python 3.13 on, closing removes it unless told otherwise. Else leaving the block does."""
    if cleanup and sys.version_info < (3, 13):
        pytest.skip("cleanup_socket is new in Python 3.13")
    path = tmp_path / "socket"
    async with Primary(f"{INSIDE}:closes_{cleanup or 'by_default'}", args=[str(path)], loop=worker_loop) as primary:
        async with primary.events("message") as heard:
            await primary.fork()
            await anext(heard)
        is_removed = cleanup == "yes" or (not cleanup and sys.version_info >= (3, 13))
        assert path.exists() is not is_removed
    assert path.exists() is (cleanup == "no")


@pytest.mark.parametrize("scheduling", ["round_robin", "shared"])
async def test_one_that_leaves_can_not_take_the_file_from_the_others(tmp_path: Path, scheduling: str) -> None:
    path = tmp_path / "socket"
    cluster = Cluster(f"{INSIDE}:serve_and_remove", workers=2, args=[str(path)], scheduling=scheduling)
    async with serving(cluster, 2) as address:
        before = path.stat().st_ino
        reloading = asyncio.ensure_future(cluster.reload())
        while not reloading.done():
            assert await ask(address) > 0
        await reloading
        assert path.stat().st_ino == before
        assert len(list(tmp_path.iterdir())) == 3  # what belongs to the old ones alone is gone
        exits = [worker.wait() for worker in cluster.workers.values()]
    assert [exit.code for exit in await asyncio.gather(*exits)] == [0, 0]
    assert not list(tmp_path.iterdir())


async def test_a_successors_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with Primary(f"{INSIDE}:serve", args=[str(path)]) as primary, primary.events("listening") as heard:
        await primary.fork()
        await anext(heard)
        path.unlink()
        successor = socket.socket(socket.AF_UNIX)
        successor.bind(str(path))
    with successor:
        assert path.exists()


async def test_a_killed_workers_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with Primary(f"{INSIDE}:serve", args=[str(path)]) as primary, primary.events("listening") as heard:
        worker = await primary.fork()
        await anext(heard)
        worker.kill(9)
        await worker.wait()
    assert not path.exists()


@needs_root
async def test_roots_files_are_safe_from_a_worker(public: Path) -> None:
    """A worker of another user exchanges the folder of its socket for a link to one of root's."""
    own, roots = public / "own", public / "roots"
    own.mkdir()
    os.chown(own, 65534, 65534)
    roots.mkdir()
    (roots / "file").write_text("precious")
    target = f"{INSIDE}:exchange_the_folder"
    async with Primary(target, args=[str(own), str(roots)], **NOBODY) as primary, primary.events("message") as heard:
        await primary.fork()
        await anext(heard)
    assert (roots / "file").exists()


@needs_root
async def test_roots_sockets_are_safe_from_a_worker_that_claims_them(public: Path) -> None:
    path = public / "socket"
    with listening_at(path):
        async with (
            Primary(f"{INSIDE}:claim", args=[str(path)], **NOBODY) as primary,
            primary.events("message") as heard,
        ):
            await primary.fork()
            assert (await anext(heard)).message == "claimed"
        assert path.exists()


@needs_root
async def test_a_file_that_its_user_may_no_longer_remove_stays(public: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = public / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)
    path = own / "socket"
    async with Primary(f"{INSIDE}:serve", args=[str(path)], **NOBODY) as primary, primary.events("listening") as heard:
        await primary.fork()
        await anext(heard)
        os.chown(own, 0, 0)
    assert path.exists()
    assert "can't remove the Unix socket" in caplog.text


# ---- turns and bounds


async def test_a_worker_that_is_stopped_in_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_TURN", 0.3)
    path = str(tmp_path / "socket")
    begin = turns.Turns._begin

    def stop_the_first(self: turns.Turns, turn: turns.Turn) -> None:
        monkeypatch.setattr(turns.Turns, "_begin", begin)
        psutil.Process(first.pid).suspend()
        begin(self, turn)

    monkeypatch.setattr(turns.Turns, "_begin", stop_the_first)
    async with Primary(f"{INSIDE}:serve", args=[path]) as primary, primary.events("listening") as heard:
        first = await primary.fork()
        while not primary._shared.ports.turns._queues:
            await asyncio.sleep(0.001)
        second = await primary.fork()
        assert (event := await anext(heard)).worker is second
        psutil.Process(first.pid).resume()
        assert (await anext(heard)).worker is first
        assert sorted([await ask(event.address), await ask(event.address)]) == sorted([first.pid, second.pid])


async def test_the_number_of_a_workers_ports_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "most_ports", lambda: 3)
    async with Primary(f"{__name__}:too_many_ports") as primary, primary.events("message") as heard:
        await primary.fork()
        assert (await anext(heard)).message == [3, errno.EMFILE]


async def too_many_ports() -> None:
    from aiocluster import current_worker

    from .inside_unix import answer

    servers: list[Any] = []
    try:
        while True:
            servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
    except OSError as error:
        await current_worker().send([len(servers), error.errno])
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("scheduling", ["round_robin", "shared"])
async def test_a_worker_makes_the_shared_socket_block(tmp_path: Path, scheduling: str) -> None:
    """The primary and the other workers have the same socket, but they don't wait in accept(2)."""
    address = Address("unix", path=str(tmp_path / "socket"))
    settings: dict[str, Any] = {"scheduling": scheduling, "args": [str(address.path)]}
    async with Primary(f"{INSIDE}:serve_blocking", **settings) as primary, primary.events("listening") as heard:
        for _ in range(2):
            await primary.fork()
            await anext(heard)
        for _ in range(8):
            await ask(address)


# ---- descriptors of the primary


@needs_root
@pytest.mark.parametrize("how", ["kept", "inherited", "offered"])
async def test_a_descriptor_for_workers_with_other_rights(how: str) -> None:
    """They get those that the user has offered, and those that the primary itself was given; not its own."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.set_inheritable(how == "inherited")
        args = [str(sock.fileno())]
        async with Primary(f"{INSIDE}:tell_error_of_descriptor", args=args, **NOBODY) as primary:
            if how == "offered":
                await primary.listen_fd(sock.fileno())
            async with primary.events("message") as heard:
                await primary.fork()
                assert (await anext(heard)).message == (errno.EACCES if how == "kept" else "listens")
