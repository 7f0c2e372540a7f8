"""The files of the page on deployment: they are what the page shows, they fit together, and their commands run."""

from __future__ import annotations

import asyncio
import configparser
import importlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Cluster
from aiocluster.events import Address
from tests.cli.inside_service import serve
from tests.cli.systemd import listening
from tests.docs.nginx import NGINX, nginx
from tests.docs.ports import free_port
from tests.docs.snippets import ROOT, titled
from tests.support.http import fetch
from tests.support.programs import environment

PAGES = {  # which page shows which file
    "shop.service": "how-to/systemd.md",
    "shop.socket": "how-to/systemd.md",
    "Dockerfile": "how-to/containers.md",
    "deployment.yaml": "how-to/kubernetes.md",
    "nginx.conf": "how-to/nginx.md",
}
FILES = ROOT / "examples" / "deploy"

yaml: Any = importlib.import_module("yaml")


def unit(name: str) -> configparser.ConfigParser:
    """A unit of systemd."""
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FILES / name)
    return parser


def service_command() -> list[str]:
    return shlex.split(unit("shop.service")["Service"]["ExecStart"])


def docker_command() -> list[str]:
    """The last CMD, in its exec form."""
    lines = (FILES / "Dockerfile").read_text().splitlines()
    (command,) = (line.removeprefix("CMD ") for line in lines if line.startswith("CMD "))
    words: list[str] = json.loads(command)
    return words


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def seconds_to_stop(command: list[str]) -> float:
    """How long that may take, see `WorkerProcess.disconnect`."""
    return float(option(command, "--drain-delay")) + float(option(command, "--graceful-timeout")) + 3


@pytest.mark.parametrize("name", sorted(path.name for path in FILES.iterdir() if path.suffix not in (".py", ".pyc")))
def test_the_page_shows_the_files(name: str) -> None:
    if not (FILES / name).is_dir():
        assert titled(PAGES[name], name) == (FILES / name).read_text()


def test_the_units_fit() -> None:
    service, command = unit("shop.service")["Service"], service_command()
    assert float(service["TimeoutStopSec"]) >= seconds_to_stop(command)
    assert (service["Type"], service["KillMode"]) == ("notify-reload", "mixed")
    assert unit("shop.socket")["Socket"]["ListenStream"] == option(command, "--bind")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = ["systemd-analyze", "verify", "--man=no"]
    version = int(subprocess.check_output(["systemd-analyze", "--version"], text=True).split()[1])
    text = (FILES / "shop.service").read_text().replace(service_command()[0], sys.executable)
    if version < 253:
        text = text.replace("Type=notify-reload", "Type=notify")
    (tmp_path / "shop.service").write_text(text)
    shutil.copy(FILES / "shop.socket", tmp_path)
    done = subprocess.run(
        [*analyze, tmp_path / "shop.service", tmp_path / "shop.socket"], capture_output=True, text=True
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "shop." in line]) == (0, [])


def test_the_image_fits() -> None:
    """A small reader of Dockerfiles: known instructions, and what is copied is there."""
    known = {"FROM", "WORKDIR", "RUN", "COPY", "USER", "EXPOSE", "CMD"}
    lines = [line for line in (FILES / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    instructions = [tuple(line.split(" ", 1)) for line in lines]
    assert {word for word, _ in instructions} == known
    assert instructions[0][0] == "FROM"
    for word, rest in instructions:
        if word == "COPY":
            assert (FILES / rest.split()[0]).exists()
    exposed = next(rest for word, rest in instructions if word == "EXPOSE").split()
    command = docker_command()
    assert exposed == [option(command, name).rpartition(":")[2] for name in ("--bind", "--health")]


def test_nginx_asks_a_new_cluster_before_the_other_one_stops() -> None:
    (seconds,) = set(re.findall(r"fail_timeout=(\d+)s", (FILES / "nginx.conf").read_text()))
    assert int(seconds) + 1 < float(option(service_command(), "--drain-delay"))


def test_the_manifest_fits() -> None:
    deployment, service = yaml.safe_load_all((FILES / "deployment.yaml").read_text())
    pod, command = deployment["spec"]["template"], docker_command()
    (container,) = pod["spec"]["containers"]
    assert "lifecycle" not in container
    assert pod["spec"]["terminationGracePeriodSeconds"] >= seconds_to_stop(command)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert option(command, "--bind") == f"0.0.0.0:{ports['http']}"
    assert option(command, "--health") == f"0.0.0.0:{ports['health']}"
    paths = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert [one["path"] for one in paths.values()] == ["/ready", "/ready", "/live"]
    assert {one["port"] for one in paths.values()} == {"health"}
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < float(option(command, "--drain-delay"))
    labels = pod["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["ports"][0]["targetPort"] in ports


@contextmanager
def running(command: list[str], **env: str) -> Iterator[subprocess.Popen[str]]:
    """Runs one of the commands, with the program in its place."""
    assert Path(command[0]).name == "aiocluster"
    with tempfile.TemporaryFile("w+") as log:  # a pipe that nobody reads would be full
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "aiocluster", *command[1:]],
            cwd=FILES,
            env={**environment(), **env},
            stderr=log,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()
        log.seek(0)
        assert "Traceback" not in (text := log.read()), text


def changed(command: list[str], **options: str) -> list[str]:
    """The command with other values of these options, and one worker, which starts the soonest."""
    command = [*command[:2], "--workers", "1", *command[2:]]
    for name, value in options.items():
        command[command.index(f"--{name.replace('_', '-')}") + 1] = value
    return command


async def until_ready(health: Address) -> None:
    while True:
        try:
            if (await fetch(health, "/ready"))[0] == 200:
                return
        except OSError:  # it does not listen yet
            pass
        await asyncio.sleep(0.02)


async def stopped(process: subprocess.Popen[str]) -> None:
    """Stops it as service managers do, and expects that it ends well."""
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait) == 0


@pytest.mark.parametrize("where", ["systemd", "container"])
async def test_a_command_serves_and_stops(where: str, tmp_path: Path) -> None:
    app, health = (Address("tcp4", "127.0.0.1", free_port()) for _ in range(2))
    original = service_command() if where == "systemd" else docker_command()
    host = "127.0.0.1" if where == "systemd" else "0.0.0.0"
    command = changed(original, bind=f"{host}:{app.port}", health=f"{host}:{health.port}", drain_delay="0.1")
    notify = str(tmp_path / "notify")
    with listening(notify) as systemd, running(command, NOTIFY_SOCKET=notify, WATCHDOG_USEC="10000000") as process:
        await asyncio.to_thread(systemd.until, "READY")
        await until_ready(health)
        assert (await fetch(health, "/live"))[0] == 200
        assert (await fetch(app, "/"))[0] == 200
        process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(systemd.until, "READY")
        await stopped(process)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_two_clusters_behind_nginx_take_turns_without_an_error(tmp_path: Path) -> None:
    """Each stops while the other one serves, with clients all the while: GET, and POST, which nginx sends only once."""
    paths = [str(tmp_path / "a.sock"), str(tmp_path / "b.sock")]
    answers: Counter[str] = Counter()
    is_over = asyncio.Event()

    async def ask(address: Address, method: str) -> None:
        while not is_over.is_set():
            try:
                status, body = await fetch(address, "/", method)
                answers[method if status == 200 and body.isdecimal() else f"{status}"] += 1
            except OSError as error:
                answers[repr(error)] += 1
            await asyncio.sleep(0.02)  # leaves the processors to those who start

    names = [(f"10.0.0.{number}:8000", f"unix:{path}") for number, path in enumerate(paths, 1)]
    async with AsyncExitStack() as stack:

        async def start(path: str) -> Cluster:
            """Starts a cluster there. The delay has to be longer than nginx leaves out who has refused (the page)."""
            cluster = Cluster(serve, args=[path], workers=1, health="127.0.0.1:0", drain_delay=3.0)
            await stack.enter_async_context(cluster)
            assert cluster.health_address is not None
            await until_ready(cluster.health_address)
            return cluster

        first = await start(paths[0])
        address = Address(
            "tcp4", "127.0.0.1", stack.enter_context(nginx(tmp_path, "how-to/nginx.md", "nginx.conf", *names))
        )
        clients = [asyncio.create_task(ask(address, method)) for method in ("GET", "POST")]
        second = await start(paths[1])
        await first.stop()
        third = await start(paths[0])
        await second.stop()
        is_over.set()
        await asyncio.gather(*clients)
        assert set(answers) == {"GET", "POST"}, answers
        await third.stop(graceful=False)
