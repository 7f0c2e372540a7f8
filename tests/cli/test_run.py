"""``aiocluster run`` with real servers, and what its reloads read again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import trustme

from aiocluster.events import Address
from tests.support.programs import environment, listening_address, running_command
from tests.support.serving import ask

APP = "tests.cli.inside_app:app"
NOBODY = 65534


@pytest.mark.parametrize(
    "line",
    [
        f"-w 2 uvicorn {APP} --port 0",
        f"-w 2 hypercorn {APP} --bind 127.0.0.1:0",
        f"{APP} --workers 2 --port 0 --no-access-log",
    ],
)
async def test_a_servers_own_command_line_and_an_app(line: str) -> None:
    with running_command(*line.split()) as (process, address):
        workers = {child.pid for child in psutil.Process(process.pid).children()}
        assert len(workers) == 2
        if "hypercorn" in line:  # it accepts by itself: the kernel chooses a worker
            pid = await ask(address)
            assert pid in workers
            while any(one.raddr for one in psutil.Process(pid).net_connections("tcp")):
                await asyncio.sleep(0.01)  # where it is stopped with an open connection, it writes a traceback
            return
        answered: set[int] = set()
        while answered != workers:  # the first one answers while the other still starts
            answered.add(await ask(address))


def test_a_shell_completes_options_and_the_version_is_told() -> None:
    command = [sys.executable, "-W", "error", "-m", "aiocluster"]
    script = subprocess.run([*command, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    assert "_AIOCLUSTER_COMPLETE" in script
    words = {"COMP_WORDS": "aiocluster run --start", "COMP_CWORD": "2", "_AIOCLUSTER_COMPLETE": "bash_complete"}
    done = subprocess.run(command, env={**environment(), **words}, capture_output=True, text=True, check=True)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == {"--start-method", "--start-timeout"}
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("aiocluster ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start workers of another user")
async def test_a_unix_socket_of_workers_of_another_user(public: Path) -> None:
    """It is that user's, has its mode before anybody could connect, and is removed in the end, by the primary too."""
    (public / "current").mkdir()
    os.chown(public / "current", NOBODY, NOBODY)
    path = public / "current" / "app.sock"
    # From a fork server, because that user may not be allowed to read the interpreter's files.
    workers = ["-w", "2", "--start-method", "template", "--loop", "asyncio", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    with started(public, *workers, APP, "--uds", str(path), "--uds-mode", "660") as running:
        running.says(f"unix:{path}")
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, NOBODY, 0o660)
        address = Address("unix", path=str(path))
        answered = {await ask(address) for _ in range(4)}
        assert {psutil.Process(pid).uids().effective for pid in answered} == {NOBODY}
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.process.wait, 30) == 0
        assert not path.exists()


# ---- what a reload reads again

SHOP = """
import asyncio, os

async def serve():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    print("facts", RELEASE, os.environ["A"], os.environ["B"], flush=True)
    async with server:
        await server.serve_forever()
"""


class Running:
    """A command that runs, whose workers print a line of facts when they start."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    def facts(self) -> str:
        """Waits for the next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "facts" in line, self._log.read_text()
        return line.partition("facts ")[2].strip()

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def says(self, text: str) -> None:
        """Waits until the log has this text, in one line."""
        self.until(lambda: any(text in line for line in self._log.read_text().splitlines()))

    def notices(self, file: Path, text: str) -> bool:
        """Writes a file. Returns whether it has been noticed so far that it changes."""
        file.write_text(text)
        return f"changed: {file}; reloading" in self._log.read_text()

    def workers(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.01)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users may enter. Not below pytest's own, which each run of pytest closes to others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Running]:
    """Starts the command in ``folder/current``. Kills what is left of it in the end."""
    log = folder / "log"
    command = [sys.executable, "-W", "error", "-m", "aiocluster", "run", *arguments]
    env = {**environment(), "PWD": str(folder / "current")}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=folder / "current", env=env, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            yield Running(process, log)
        finally:
            children = psutil.Process(process.pid).children() if process.poll() is None else []
            process.kill()
            for child in children:
                child.kill()


def test_what_a_reload_reads_again(tmp_path: Path) -> None:
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "shop.py").write_text(f"RELEASE = {release}\n{SHOP}")
    (tmp_path / "current").symlink_to("1")
    variables, toml, pid_file = tmp_path / "shop.env", tmp_path / "shop.toml", tmp_path / "shop.pid"
    variables.write_text("A=1\n")
    toml.write_text('workers = 1\nenv = {B = "1"}\n')
    files = ["--env-file", str(variables), "--config", str(toml), "--pid-file", str(pid_file)]
    with started(tmp_path, *files, "shop:serve") as running:
        assert running.facts() == "1 1 1"
        running.until(pid_file.exists)
        assert pid_file.read_text() == f"{running.process.pid}\n"

        variables.write_text("A=2\n")
        running.reload()
        assert running.facts() == "1 2 1", "the file of variables"

        start = 'env = {B = "2"}\nlog-level = "debug"\nagents = {jobs = "shop:serve"}\n'
        toml.write_text(f"workers = 1\n{start}")
        running.reload()
        assert running.facts() == "1 2 2", "settings in TOML"
        for name in ("agents", "log-level"):
            running.says(f"{name} has changed: that counts from the next start on")

        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(tmp_path / "current")
        running.reload()
        assert running.facts() == "2 2 2", "the code behind a link"

        running.until(lambda: len(running.workers()) == 1)
        workers = running.workers()
        variables.write_text("A\n")
        running.reload()
        running.says(f"nothing is reloaded: --env-file: {variables}, line 1: a line is NAME=VALUE")
        variables.write_text("A=2\n")
        toml.write_text("workers = none\n")
        running.reload()
        running.says(f"nothing is reloaded: {toml} is not valid TOML")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            toml.write_text(f'workers = 2\nenv = {{B = "3"}}\nhealth = "{where}"\n')
            running.reload()
            running.says(f"nothing is reloaded: health: {where} is in use")
        toml.write_text('workers = 2\nenv = {B = "3"}\npreload = "no_such_module_of_test"\n')
        running.reload()
        running.says("the reload has been given up, the old workers stay")
        running.until(lambda: running.workers() == workers)
        os.kill(workers[0], signal.SIGKILL)
        assert running.facts() == "2 2 2", "with the old settings"

        later = f'health = "unix:{tmp_path}/health.sock"\ndrain-delay = "1m"\ngraceful-timeout = 5\n'
        toml.write_text(f"workers = 2\n{start}{later}scheduling = 'random'\n")
        running.reload()
        assert [running.facts() for _ in range(2)] == ["2 2 2", "2 2 2"], "more workers"
        assert (tmp_path / "health.sock").exists()
        running.says("scheduling has changed: that counts for ports that are opened from now on")

        running.process.send_signal(signal.SIGTTIN)
        assert running.facts() == "2 2 2"
        running.reload()
        assert [running.facts() for _ in range(3)] == ["2 2 2"] * 3, "as many as before: TOML says the same"

        with toml.open("a") as more:
            more.write(f'reload-dir = "{tmp_path}/2"\n')
        running.reload()
        assert [running.facts() for _ in range(3)] == ["2 2 2"] * 3
        running.until(lambda: running.notices(tmp_path / "2" / "shop.py", f"RELEASE = 3\n{SHOP}"))
        assert running.facts() == "3 2 2", "what has been changed in a folder that is watched from then on"

        running.process.send_signal(signal.SIGTERM)
        running.says("SIGTERM: stopping, up to 65 s")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
        assert not pid_file.exists()


STREAM = """
import asyncio, os

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while scope["path"] == "/stream" and not os.path.exists("ended"):
        await send({"type": "http.response.body", "body": b"more", "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"ok"})
"""


class Visitor:
    """A connection by TLS, with one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.certificate: str = writer.get_extra_info("peercert")["serialNumber"]
        self._writer = writer

    @classmethod
    async def asks(cls, address: Address, path: str, context: ssl.SSLContext) -> Visitor:
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        return cls(reader, writer)

    async def end(self) -> bytes:
        """Reads to the end."""
        read = await self.reader.read()
        self._writer.close()
        await self._writer.wait_closed()
        return read


def renew(ca: trustme.CA, folder: Path) -> None:
    certificate = ca.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))


async def test_certificates_are_renewed_without_breaking_a_connection(tmp_path: Path) -> None:
    (folder := tmp_path / "current").mkdir()
    (folder / "shop.py").write_text(STREAM)
    renew(ca := trustme.CA(), folder)
    context = ssl.create_default_context()
    ca.configure_trust(context)
    tls = ["--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem", "--port", "0"]
    with started(tmp_path, "--name", "renewed-of-test", "-w", "1", "shop:app", *tls) as running:
        address = await asyncio.to_thread(listening_address, running.process.pid)
        running.says("https://127.0.0.1:")
        open_one = await Visitor.asks(address, "/stream", context)
        await open_one.reader.readuntil(b"more")

        async def serves_another_than(before: str) -> str:
            while True:
                visitor = await Visitor.asks(address, "/", context)
                assert b"ok" in await visitor.end()
                if visitor.certificate != before:
                    return visitor.certificate

        renew(ca, folder)
        running.reload()
        second = await serves_another_than(open_one.certificate)
        await open_one.reader.readuntil(b"more")
        (folder / "ended").touch()
        assert b"ok" in await open_one.end()
        await asyncio.to_thread(running.says, "reloaded")

        renew(ca, folder)
        command = [sys.executable, "-W", "error", "-m", "aiocluster", "reload", "renewed-of-test"]
        done = await asyncio.to_thread(subprocess.run, command, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        visitor = await Visitor.asks(address, "/", context)
        assert b"ok" in await visitor.end()
        assert visitor.certificate not in (open_one.certificate, second)
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.process.wait, 30) == 0


def test_a_pid_file_of_a_process_that_runs_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "shop.py").write_text(SHOP)
    pid_file = tmp_path / "shop.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    with started(tmp_path, "--pid-file", str(pid_file), "shop:serve") as running:
        assert running.process.wait(20) == 1
        running._log.read_text().index(f"{pid_file} has the id of process {os.getpid()}, which runs")
    assert pid_file.read_text() == f"{os.getpid()}\n"
    with started(tmp_path, "--pid-file", str(tmp_path / "missing" / "shop.pid"), "shop:serve") as running:
        assert running.process.wait(20) == 2
