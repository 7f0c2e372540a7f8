"""The programs aiocluster is measured against and with: Node, nginx, ASGI servers, wrk."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from .measurement import Sample
from .processor import Processes, Timed
from .programs import READY_WITHIN, ProgramFailed, answer, started

NODE_PROGRAMS = Path(__file__).parent / "node"

_SYSTEM_PROGRAMS = "/usr/sbin:/usr/local/sbin"
"""Where nginx often is, while a user's PATH often ends before it."""

_LOAD_SECONDS = 2
_WARM_UP_SECONDS = 1
CLIENTS = 64
_STAYING = ["-c8"]
_REQUESTS = r"^\s+(\d+) requests in "
_RATE = r"^Requests/sec:\s+([\d.]+)$"


def found(program: str) -> str | None:
    """The path of a program, None where it isn't installed."""
    return shutil.which(program) or shutil.which(program, path=_SYSTEM_PROGRAMS)


def missing(program: str) -> str | None:
    """Why a program or a package can't be used, None when it can."""
    installed = find_spec(program) if program in _PACKAGES else found(program)
    return None if installed else f"{program} is not installed"


def version(program: str) -> str | None:
    """What a program says of itself, None where it isn't installed."""
    path = found(program)
    if path is None:
        return None
    # nginx wants -v and speaks on stderr; wrk adds its usage and exits with 1.
    said = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=READY_WITHIN)
    return (said.stdout + said.stderr).partition("\n")[0].strip()


def node(program: str, *arguments: str) -> list[str]:
    """The command that runs one of this package's own Node programs."""
    return [_path("node"), str(NODE_PROGRAMS / program), *arguments]


@contextmanager
def nginx(workers: int, response: str) -> Iterator[int]:
    """Run nginx with a number of workers that answer with a small static body.

    Yields:
        Its port, on the loopback interface.
    """
    served = f'keepalive_timeout 0; server {{ listen 127.0.0.1:%d; location / {{ return 200 "{response}"; }} }}'
    with _nginx(workers, served) as port:
        yield port


@contextmanager
def nginx_before(ports: Sequence[int], balancing: str) -> Iterator[int]:
    """Run nginx as the proxy before servers on these ports, with connections to them that stay.

    One worker process, as each would count for itself how many requests a server has.

    Yields:
        Its port, on the loopback interface.
    """
    servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
    served = f"""\
    upstream servers {{ {balancing}; {servers} keepalive 64; }}
    server {{
        listen 127.0.0.1:%d;
        location / {{ proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}"""
    with _nginx(1, served) as port:
        yield port


@contextmanager
def _nginx(workers: int, served: str) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="aiocluster-bench-") as name:
        directory = Path(name)
        port = free_port()
        configuration = directory / "nginx.conf"
        configuration.write_text(_nginx_configuration(directory, workers, served % port))
        command = [_path("nginx"), "-p", name, "-c", str(configuration), "-e", "stderr"]
        with started(command) as process:
            _await_listening(port, process)
            yield port


@contextmanager
def asgi_server(server: str, workers: int, app: str, options: Sequence[str] = ()) -> Iterator[int]:
    """Run an ASGI server's own way to have several workers: ``uvicorn``, ``gunicorn``, ``granian`` or ``aiocluster``.

    Args:
        options: What its command is given besides.

    Yields:
        Its port, on the loopback interface.
    """
    port = free_port()
    arguments = _ASGI_ARGUMENTS[server](app, str(port), str(workers))
    with started([sys.executable, "-m", server, *arguments, *options]) as process:
        _await_listening(port, process)
        yield port


_ASGI_ARGUMENTS: dict[str, Callable[[str, str, str], list[str]]] = {
    "uvicorn": lambda app, port, workers: [
        *("--workers", workers, "--port", port, "--log-level", "warning", "--no-access-log", app),
    ],
    "gunicorn": lambda app, port, workers: [
        *("--worker-class", "asgi", "--workers", workers, "--bind", f"127.0.0.1:{port}", "--log-level", "warning", app),
    ],
    "granian": lambda app, port, workers: [
        *("--interface", "asgi", "--workers", workers, "--port", port, "--loop", "uvloop", "--no-log", app),
    ],
    "aiocluster": lambda app, port, workers: [
        *("run", app, "--workers", workers, "--port", port, "--log-level", "warning", "--no-access-log"),
    ],
}

_PACKAGES = {*_ASGI_ARGUMENTS, "fastapi", "numpy", "pydantic", "redis", "sqlalchemy"}
"""These are imported, and no programs of their own."""


def sampled(command: Sequence[str]) -> Sample:
    """What a program says that measures by itself: ``{"value": …, "cpu": {"primary": …}}``, or without ``cpu``.

    Raises:
        ProgramFailed: It broke.
    """
    said = answer(command)
    return Sample(said["value"], cpu=said.get("cpu", {}))


def wrk(port: int, processes: Processes | None = None, clients: int = CLIENTS) -> Sample:
    """New connections per second to a port on the loopback interface: warm-up, then measure.

    Args:
        processes: Whose processor time for one connection is measured.
        clients: Connections that are open at the same time.
    """
    return _loaded(port, _new_connections(clients), processes)


def wrk_connections(port: int, clients: int) -> int:
    """How many new connections have been answered, without a warm-up."""
    return _answered(port, _new_connections(clients))


def wrk_requests(port: int) -> int:
    """How many requests have been answered over a few connections that stay, without a warm-up."""
    return _answered(port, _STAYING)


def _answered(port: int, options: list[str]) -> int:
    said, _ = _wrk(port, _LOAD_SECONDS, options)
    return int(_found(_REQUESTS, said))


def _new_connections(clients: int) -> list[str]:
    return [f"-c{clients}", "-H", "Connection: close"]


def wrk_keep_alive(port: int, processes: Processes | None = None) -> Sample:
    """Requests per second over a few connections that stay: warm-up, then measure.

    Args:
        processes: Whose processor time for one request is measured.
    """
    return _loaded(port, _STAYING, processes)


def _loaded(port: int, options: list[str], processes: Processes | None) -> Sample:
    _wrk(port, _WARM_UP_SECONDS, options)
    timed = Timed(processes or {})
    timed.begin()
    said, errors = _wrk(port, _LOAD_SECONDS, options)
    timed.end()
    return Sample(_found(_RATE, said), errors, cpu=timed.cpu_of_each(_found(_REQUESTS, said)))


def wrk_latency(port: int) -> Sample:
    """Seconds within which 99 % of requests over a few connections that stay are answered: warm-up, then measure."""
    options = [*_STAYING, "--latency"]
    _wrk(port, _WARM_UP_SECONDS, options)
    said, errors = _wrk(port, _LOAD_SECONDS, options)
    latency = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s)$", said, re.MULTILINE)
    if latency is None:
        raise ProgramFailed(f"wrk measured nothing: {said.strip()}")
    return Sample(float(latency[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[latency[2]], errors)


def _wrk(port: int, seconds: int, options: list[str]) -> tuple[str, dict[str, int]]:
    """What it said, and its errors."""
    command = [_path("wrk"), "-t1", f"-d{seconds}s", *options]
    try:
        said = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
            timeout=seconds + READY_WITHIN,
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed("wrk did not end") from None
    if not re.search(_RATE, said.stdout, re.MULTILINE):
        raise ProgramFailed(f"wrk measured nothing: {(said.stderr or said.stdout).strip()}")
    errors = _wrk_errors(said.stdout)
    if not _found(_RATE, said.stdout):
        raise ProgramFailed(f"not one request was answered; errors: {errors or 'none'}")
    return said.stdout, errors


def _found(pattern: str, said: str) -> float:
    number = re.search(pattern, said, re.MULTILINE)
    if number is None:
        raise ProgramFailed(f"wrk said something unexpected: {said.strip()}")
    return float(number[1])


def _wrk_errors(said: str) -> dict[str, int]:
    """``Socket errors: connect 0, read 3, write 0, timeout 0`` and ``Non-2xx …: 7``, without zeros.

    wrk prints either line only where there is something to tell.
    """
    errors: dict[str, int] = {}
    if line := re.search(r"Socket errors: (.+)", said):
        errors.update((kind, int(n)) for kind, n in re.findall(r"(\w+) (\d+)", line[1]))
    if line := re.search(r"Non-2xx or 3xx responses: (\d+)", said):
        errors["status"] = int(line[1])
    return {kind: count for kind, count in errors.items() if count}


def _nginx_configuration(directory: Path, workers: int, served: str) -> str:
    temporary = "\n".join(
        f"    {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
{temporary}
{served}
}}
"""


def free_port() -> int:
    """A port the kernel says is free; nginx can't be told to ask for one itself."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _await_listening(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=READY_WITHIN).close()
        except ConnectionRefusedError:
            time.sleep(0.02)  # it doesn't say when it listens: asking is all there is
        else:
            return
    raise ProgramFailed("it did not begin to listen")


def _path(program: str) -> str:
    path = found(program)
    if path is None:
        raise ProgramFailed(f"{program} is not installed")
    return path
