"""Cluster: keeps n workers alive, and ends them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiocluster import (
    Cluster,
    ClusterError,
    RestartLimitError,
    RestartPolicy,
    StartupError,
    TargetError,
    WorkerProcess,
)
from aiocluster.events import Error, Exit, GiveUp
from tests.support.events import several
from tests.support.serving import EXAMPLES, ask, serving, wait_until_it_ignores, wait_until_it_is_up

from .inside_cluster import crash, crash_when_told, end_at_once, ignore_everything, serve

ROOT = Path(__file__).parent.parent.parent

# ---- targets


# ---- starting


async def test_enter_and_leave() -> None:
    cluster = Cluster(serve, workers=3)
    forks: list[int] = []
    cluster.on("fork", lambda event: forks.append(event.worker.id))
    async with cluster:
        assert [worker.id for worker in cluster.workers.values()] == forks == [1, 2, 3]
        assert all(worker.state in ("online", "listening") for worker in cluster.workers.values())
        workers = list(cluster.workers.values())
        assert cluster.primary.workers == cluster.workers
    assert not cluster.workers
    assert all(worker.exited_after_disconnect for worker in workers)


async def test_auto_is_the_cpus_of_this_process() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        async with Cluster(serve) as cluster:
            assert len(cluster.workers) == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"workers": 0}, ValueError, "workers"),
        ({"workers": -1}, ValueError, "workers"),
        ({"workers": "many"}, TypeError, "workers"),
        ({"workers": 1.5}, TypeError, "workers"),
        ({"workers": True}, TypeError, "workers"),
        ({"start_timeout": -1}, ValueError, "start_timeout"),
        ({"start_timeout": float("nan")}, ValueError, "start_timeout"),
        ({"start_timeout": "1"}, TypeError, "start_timeout"),
        ({"graceful_timeout": -0.1}, ValueError, "graceful_timeout"),
        ({"graceful_timeout": None}, TypeError, "graceful_timeout"),
        ({"scheduling": "nonsense"}, ValueError, "scheduling"),
        ({"weights": [1], "workers": 2}, ValueError, "weights"),
        ({"weights": [0, 1], "workers": 2}, ValueError, "weights"),
        ({"weights": [2, 1], "workers": 2, "scheduling": "round_robin"}, ValueError, "weights"),
        ({"weights": [2, 1], "workers": 2, "scheduling": "shared"}, ValueError, "weights"),
        ({"nonsense": 1}, TypeError, "nonsense"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=name):
        Cluster(serve, **arguments)


def test_weights_choose_a_policy_that_goes_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOCLUSTER_SCHEDULING", raising=False)
    assert Cluster(serve, workers=2, weights=[5, 1]).primary.settings.scheduling == "weighted_round_robin"
    chosen = Cluster(serve, workers=2, weights=[5, 1], scheduling="least_connections")
    assert chosen.primary.settings.scheduling == "least_connections"
    monkeypatch.setenv("AIOCLUSTER_SCHEDULING", "random")
    with pytest.raises(ValueError, match=r"^weights have no effect with the policy 'random'"):
        Cluster(serve, workers=2, weights=[5, 1])


async def test_outside_the_block_nothing_waits_and_nothing_is_done_in_silence() -> None:
    cluster = Cluster(serve, workers=1)
    for _ in ("before", "after"):
        for call in (cluster.serve_forever(), cluster.broadcast("x"), cluster.call(os.getpid)):
            with pytest.raises(ClusterError, match=r"\(\) works only inside `async with Cluster\(…\)`$"):
                await asyncio.wait_for(call, 5)
        if not cluster._is_entered:
            async with cluster:
                pass


def test_a_handler_that_is_no_function_is_refused() -> None:
    cluster = Cluster(serve)
    with pytest.raises(TypeError, match=r"^handler must be a function, not 5$"):
        cluster.on("exit", 5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^handler must be a function, not 'x'$"):
        cluster.handle_requests("x")  # type: ignore[arg-type]


def test_a_bad_target_is_known_at_once() -> None:
    with pytest.raises(TargetError):
        Cluster("no/such/script.py")


# ---- what can't be started


async def test_a_target_whose_import_fails(tmp_path: Path) -> None:
    (tmp_path / "failing_of_test.py").write_text("1 / 0\ndef name(): ...")
    with pytest.raises(StartupError) as caught:
        async with Cluster("failing_of_test:name", cwd=tmp_path, workers=2):
            pytest.fail("entered")
    assert "before it was online, by exit code 1" in str(caught.value)
    assert "ZeroDivisionError: division by zero" in str(caught.value)
    assert "failing_of_test.py" in str(caught.value)


async def test_an_interpreter_that_fails_is_quoted(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho a word of explanation >&2\nexit 7\n")
    python.chmod(0o755)
    with pytest.raises(StartupError) as caught:
        async with Cluster(serve, executable=python, workers=2):
            pytest.fail("entered")
    assert "by exit code 7" in str(caught.value)
    assert str(caught.value).endswith("a word of explanation")


async def test_start_timeout(tmp_path: Path) -> None:
    (tmp_path / "slow_of_test.py").write_text(
        "import sys, time\nprint('still loading', file=sys.stderr, flush=True)\ntime.sleep(60)\ndef name(): ...\n"
    )
    began = time.monotonic()
    with pytest.raises(StartupError) as caught:
        async with Cluster("slow_of_test:name", cwd=tmp_path, workers=2, start_timeout=5):
            pytest.fail("entered")
    assert "not online within 5 seconds (start_timeout)" in str(caught.value)
    assert "still loading" in str(caught.value)
    assert time.monotonic() - began < 30  # the import takes 60


async def test_cancelled_while_entering(tmp_path: Path) -> None:
    (tmp_path / "slow_of_test.py").write_text("import time\ntime.sleep(60)\ndef name(): ...\n")
    cluster = Cluster("slow_of_test:name", cwd=tmp_path, workers=2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            async with cluster:
                pytest.fail("entered")
    assert not cluster.workers


# ---- keeping them alive


async def test_a_killed_worker_is_replaced() -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2) as address, several(cluster, "listening", "exit") as heard:
        killed, other = cluster.workers.values()
        killed.kill(signal.SIGKILL)
        events = [await anext(heard), await anext(heard)]
        exit = next(event for event in events if isinstance(event, Exit))
        assert (exit.worker, exit.code, exit.signal) == (killed, None, signal.SIGKILL)
        new = next(event for event in events if not isinstance(event, Exit)).worker
        assert set(cluster.workers.values()) == {other, new}
        assert new.id == 3
        answers = [await ask(address) for _ in range(4)]
        assert sorted(answers) == sorted([other.pid, new.pid] * 2)


async def test_one_that_was_told_to_leave_is_not_replaced() -> None:
    async with Cluster(serve, workers=2) as cluster:
        first, second = cluster.workers.values()
        await first.disconnect()
        assert list(cluster.workers.values()) == [second]


async def test_a_crashed_worker_answers_what_it_had_and_is_replaced_at_once() -> None:
    cluster = Cluster(crash_when_told, workers=1)
    async with serving(cluster, 1) as address, several(cluster, "error", "listening", "exit", "message") as heard:
        (crashed,) = cluster.workers.values()
        asked = asyncio.ensure_future(ask(address))
        assert (await anext(heard)).message == "asked"
        assert await asked == crashed.pid
        await crashed.send("crash")
        error: Error = await anext(heard)
        assert isinstance(error, Error)
        assert "crashed as told" in str(error.error)
        events = [await anext(heard), await anext(heard)]
        assert {event.name for event in events} == {"exit", "listening"}
        assert crashed.exit_code == 1
        asked = asyncio.ensure_future(ask(address))
        assert await asked != crashed.pid


@pytest.mark.parametrize("target", [crash, end_at_once])
async def test_giving_up(target: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    policy = RestartPolicy(limit=3, period=60, backoff=(0.0, 0.01))
    cluster = Cluster(target, workers=2, restart=policy, silent=True)
    async with several(cluster, "give_up", "exit") as heard:
        with pytest.raises(RestartLimitError, match="ended unasked within 60 seconds"):
            async with cluster:
                await cluster.serve_forever()
        events: list[Any] = []
        while not events or not isinstance(events[-1], GiveUp):
            events.append(await anext(heard))
        give_up = events.pop()
        assert give_up.period == 60
        assert len(give_up.exits) >= 3
        assert len(events) >= 3
    assert "no more replacements" in caplog.text


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
async def test_workers_killed_under_load_are_replaced_and_nobody_is_refused() -> None:
    cluster = Cluster(EXAMPLES / "asyncio_app.py", workers=4, env={"PORT": "0"})
    async with serving(cluster, 4) as address, cluster.events("listening") as heard:
        load = await asyncio.create_subprocess_exec(
            *["wrk", "-t1", "-c16", "-d3s", f"http://{address}/"], stdout=subprocess.PIPE
        )
        refused = 0
        for _ in range(4):
            next(iter(cluster.workers.values())).kill(signal.SIGKILL)
            replaced = asyncio.ensure_future(anext(heard))
            while not replaced.done():
                try:
                    _, writer = await asyncio.open_connection(address.host, address.port)
                except ConnectionRefusedError:
                    refused += 1
                else:
                    writer.close()
                    with contextlib.suppress(ConnectionError):
                        await writer.wait_closed()
        assert refused == 0
        assert len(cluster.workers) == 4
        output, _ = await load.communicate()
        load._transport.close()  # type: ignore[attr-defined]
        assert b"connect 0" in output or b"Socket errors" not in output
        assert int(output.split(b" requests in")[0].split()[-1]) > 100


# ---- serve_forever and its signals

SERVE = """
import asyncio, signal, sys
from aiocluster import Cluster
from tests.supervise import test_cluster

async def main():
    cluster = Cluster(getattr(test_cluster, sys.argv[1]), workers=2, graceful_timeout=float(sys.argv[2]))
    async with cluster:
        print(*[worker.pid for worker in cluster.workers.values()], flush=True)
        await cluster.serve_forever()
        print("over", [worker.state for worker in cluster.workers.values()], flush=True)
    print("left", flush=True)

asyncio.run(main())
"""


def busy() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


class Leader:
    """A cluster in a process of its own, which serves for ever."""

    def __init__(self, target: str, graceful_timeout: float = 30) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SERVE, target, str(graceful_timeout)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self.process.stdout is not None
        self.stdout = self.process.stdout
        self.workers = [psutil.Process(int(pid)) for pid in self.stdout.readline().split()]
        assert len(self.workers) == 2
        wait_until_it_is_up(self.process.pid)
        if target == "busy":
            for worker in self.workers:
                wait_until_it_ignores(signal.SIGTERM, worker.pid)

    def __enter__(self) -> Leader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        self.stdout.close()

    def ends(self) -> str:
        """Waits for its end. Returns what it still had to say."""
        rest = self.stdout.read().decode()
        self.process.wait(10)
        assert not any(worker.is_running() for worker in self.workers)
        return rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_gracefully(number: signal.Signals) -> None:
    with Leader("serve") as leader:
        leader.process.send_signal(number)
        assert leader.ends() == "over []\nleft\n"
        assert leader.process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_it_at_once(number: signal.Signals) -> None:
    with Leader("busy") as leader:
        leader.process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            leader.process.wait(0.3)
        began = time.monotonic()
        leader.process.send_signal(number)
        assert leader.ends() == "over []\nleft\n"
        assert time.monotonic() - began < 20  # its graceful timeout is 30


def test_sigquit_stops_it_at_once() -> None:
    with Leader("busy") as leader:
        leader.process.send_signal(signal.SIGQUIT)
        assert leader.ends() == "over []\nleft\n"
        assert leader.process.returncode == 0


def test_its_graceful_timeout_ends_what_does_not_leave() -> None:
    with Leader("busy", 0.1) as leader:
        leader.process.send_signal(signal.SIGTERM)
        assert leader.ends() == "over []\nleft\n"


async def test_serve_forever_returns_once_it_was_stopped() -> None:
    async with Cluster(serve, workers=2) as cluster:
        serving = asyncio.ensure_future(cluster.serve_forever())
        await asyncio.sleep(0)
        await cluster.stop()
        await serving


async def test_serve_forever_can_be_cancelled() -> None:
    cluster = Cluster(serve, workers=2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            async with cluster:
                await cluster.serve_forever()
    assert not cluster.workers


async def test_a_block_that_is_cancelled_again_and_again_leaves_nobody() -> None:
    """The first cancellation stops gracefully, the second one by SIGTERM and SIGKILL; more change nothing."""
    workers: list[WorkerProcess] = []

    async def run() -> None:
        async with Cluster(ignore_everything, workers=2, graceful_timeout=60) as cluster:
            workers.extend(cluster.workers.values())
            await asyncio.get_running_loop().create_future()

    running = asyncio.ensure_future(run())
    while len(workers) < 2:
        await asyncio.sleep(0.01)
    while not running.done():
        running.cancel()
        await asyncio.wait([running], timeout=0.2)
    assert running.cancelled()
    assert all(worker.is_dead() for worker in workers)
