"""The suites: whose tests, of which version, what they need, and which differ inside a worker, with the reason.

A difference that is listed here is one that we hold right, or that says nothing about a worker: a test that reads
private attributes of asyncio's own classes, or that replaces `socket` below asyncio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CPYTHON = "cpython"
"""The name of the suite that is the interpreter's own, and is not installed."""


@dataclass(frozen=True)
class Suite:
    """One suite.

    Attributes:
        name: The project, as the package index calls it.
        version: Its release. The source distribution of this version carries the tests.
        needs: What its tests import besides, as pip takes it.
        tests: What pytest is given, relative to the unpacked source distribution.
        options: Further options of pytest, for both runs.
        left_out: Tests that are not run at all, by a part of their name, with the reason.
        left_out_on_uvloop: The same, of tests that are run on asyncio's own loop alone.
        differs: Tests that may fail inside alone, by their name, or by its beginning, with the reason.
        loops: The kinds of loops that it runs on.
        shares_nothing: Why no port of this suite is shared, if none is: `sock=` is given, or there is no server.
    """

    name: str
    version: str
    needs: tuple[str, ...] = ()
    tests: tuple[str, ...] = ("tests",)
    options: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    left_out_on_uvloop: Mapping[str, str] = field(default_factory=dict)
    differs: Mapping[str, str] = field(default_factory=dict)
    loops: tuple[str, ...] = ("asyncio", "uvloop")
    shares_nothing: str = ""


PYTEST = ("pytest", "pytest-timeout")

_CLOCK = "its loop has a scripted clock, and the worker's heartbeat is one timer more than the script has"
_MOCK = "it replaces `socket` inside asyncio by a mock, and the primary binds with a real one"
_PRIVATE = "it reads `Server._sockets`"
_TURNS = (
    "it closes the server a few turns of the loop after a client has connected; the primary is still handing it over"
)
_ORDER = (
    "it expects a new connection to be taken before what the client sends later on another one is read; "
    "the primary's hand-over takes longer than that"
)
_BLOCKS = "blockbuster lets only asyncio's own code look at a path inside a coroutine, and a worker's does so, too"
_CLOSED = "it expects the port to be closed when `close()` returns; with the primary, it is when `wait_closed()` does"

SUITES = (
    Suite(
        "uvicorn",
        "0.54.0",
        (
            "uvicorn[standard]",
            "pytest-mock",
            "pytest-xdist",
            "trustme",
            "cryptography",
            "httpx2",
            "a2wsgi",
            "wsproto",
        ),
        options=("-p", "no:xdist", "-o", "addopts=", "-W", "ignore", "--ignore=tests/benchmarks"),
    ),
    Suite(
        "aiohttp",
        "3.14.5",
        (
            "aiohttp",
            "pytest-mock",
            "pytest-xdist",
            "trustme",
            "re-assert",
            "freezegun",
            "proxy.py",
            "brotli",
            "blockbuster",
            "isal",
            "zlib_ng",
            "gunicorn",
            "setuptools",
            "coverage",
        ),
        tests=(
            "tests/test_web_functional.py",
            "tests/test_web_runner.py",
            "tests/test_run_app.py",
            "tests/test_web_server.py",
            "tests/test_web_websocket_functional.py",
            "tests/test_web_sendfile_functional.py",
            "tests/test_client_functional.py",
            "tests/test_client_ws_functional.py",
            "tests/test_connector.py",
            "tests/test_test_utils.py",
        ),
        options=(
            *("-p", "no:xdist", "-o", "addopts=", "-W", "ignore"),
            *("-m", "not dev_mode and not autobahn and not internal"),
        ),
        differs={
            "test_web_runner.py::test_addresses": _BLOCKS,
            "test_connector.py::test_unix_connector": _BLOCKS,
        },
    ),
    Suite(
        "asyncssh",
        "2.24.1",
        ("asyncssh", "bcrypt", "fido2", "libnacl", "pyOpenSSL"),
        tests=(
            "tests/test_connection.py",
            "tests/test_channel.py",
            "tests/test_forward.py",
            "tests/test_process.py",
            "tests/test_stream.py",
            "tests/test_agent.py",
        ),
        left_out_on_uvloop=dict.fromkeys(
            ("proxy_jump", "tunnel"),
            "each takes two minutes to fail, plainly too: uvloop does not use the mocked resolver",
        ),
    ),
    Suite(
        "aiosmtpd",
        "1.4.6",
        ("aiosmtpd", "pytest-mock", "pytest-asyncio", "setuptools<81"),
        tests=("aiosmtpd/tests",),
        options=("-o", "addopts=", "-W", "ignore"),
    ),
    Suite("aioquic", "1.7.2", ("aioquic",), tests=("tests/test_asyncio.py",)),
    Suite(
        "aioftp",
        "0.28.3",
        ("aioftp", "pytest-asyncio", "pytest-mock", "async_timeout", "siosocks", "trustme"),
        options=("-o", "addopts=", "-W", "ignore"),
        differs={
            "test_abort.py::test_abort_stor": _ORDER,
            "test_connection.py::test_extra_pasv_connection": _ORDER,
            "test_passive.py::test_passive_closed_on_recall": _ORDER,
        },
    ),
    Suite(
        "grpclib",
        "0.4.9",
        ("grpclib", "pytest-asyncio", "protobuf", "googleapis-common-protos", "grpcio-tools", "faker", "certifi"),
        # Its source distribution lacks the modules conn, stubs and dummy_pb2, which 15 of its 24 files import.
        options=("-W", "ignore", "--continue-on-collection-errors"),
    ),
    Suite(
        CPYTHON,
        "",
        tests=("test_server", "test_streams", "test_events", "test_unix_events", "test_sock_lowlevel", "test_sendfile"),
        loops=("asyncio",),  # its tests make asyncio's own loops, by class
        differs={
            "test_server.SelectorStartServerTests.test_start_server_1": _PRIVATE,
            "test_server.SelectorStartServerTests.test_start_unix_server_1": _PRIVATE,
            "test_server.TestServer2.test_wait_closed_basic": _TURNS,
            "test_server.TestServer2.test_close_clients": _CLOSED,
            "test_server.TestServer2.test_abort_clients": _CLOSED,
            "test_server.UnixServerCleanupTests.test_unix_server_addr_cleanup": _CLOSED,
            "test_streams.StreamTests.test_unhandled_exception": _TURNS,
            "EventLoopTests.test_create_server_multiple_hosts_ipv": _MOCK,
            "EventLoopTests.test_server_close": _CLOSED,
            "SelectorEventLoopUnixSocketTests.test_create_unix_server_bind_error": _MOCK,
            "test_unix_events.UnixReadPipeTransportTests": _CLOCK,
            "test_unix_events.UnixWritePipeTransportTests": _CLOCK,
        },
    ),
)
