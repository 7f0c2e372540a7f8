"""Every policy over real sockets: which worker gets which connection."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Cluster, Primary
from aiocluster.events import Listening
from aiocluster.scheduling import Peeking, RoundRobin
from tests.connections.clients import connect_from, pids_of
from tests.connections.inside import serve
from tests.support.serving import Client, ask, serving

ALL = [
    "round_robin",
    "weighted_round_robin",
    "random",
    "least_busy",
    "least_connections",
    "ip_hash",
    "url_hash",
    "fair",
    "shared",
    "reuse_port",
    "reuse_port_ip_hash",
]


@pytest.mark.parametrize("scheduling", ALL)
async def test_every_policy_answers_everybody(scheduling: str) -> None:
    cluster = Cluster(serve, workers=2, scheduling=scheduling)
    async with serving(cluster, 2) as address:
        pids = await pids_of(address, 60)
        assert set(pids) <= {worker.pid for worker in cluster.workers.values()}
        assert [port.scheduling for port in cluster.stats().ports] == [scheduling]
        if scheduling in ("round_robin", "weighted_round_robin", "least_busy", "least_connections", "fair"):
            assert sorted(Counter(pids).values()) == [30, 30]
        if scheduling in ("random", "reuse_port"):
            assert len(set(pids)) == 2  # that chance leaves one out of it: 2 ** -59


async def test_weights() -> None:
    cluster = Cluster(serve, workers=3, scheduling="weighted_round_robin", weights=[5, 1, 1])
    async with serving(cluster, 3) as address:
        by_weight = {worker.pid: worker.weight for worker in cluster.workers.values()}
        shares = Counter(await pids_of(address, 70, cluster))
        assert {by_weight[pid]: count for pid, count in shares.items() if by_weight[pid] == 5} == {5: 50}
        assert sorted(shares.values()) == [10, 10, 50]


async def test_weights_of_reuse_port() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux is told whom to choose")
    cluster = Cluster(serve, workers=2, scheduling="reuse_port", weights=[9, 1])
    async with serving(cluster, 2) as address:
        heavy = next(worker.pid for worker in cluster.workers.values() if worker.weight == 9)
        shares = Counter(await pids_of(address, 400))
        assert 300 < shares[heavy] < 400  # 360 ± 6: ten deviations


@pytest.mark.parametrize("scheduling", ["ip_hash", "reuse_port_ip_hash"])
async def test_ip_hash_keeps_an_address_where_it_is(scheduling: str) -> None:
    cluster = Cluster(serve, workers=3, scheduling=scheduling)
    async with serving(cluster, 3) as address:
        at: dict[str, int] = {}
        for number in range(1, 41):
            client = await connect_from(source := f"127.0.0.{number}", address)
            at[source] = await client.ask()
            await client.close()
        assert len(set(at.values())) == 3
        for source, pid in at.items():
            client = await connect_from(source, address)
            assert await client.ask() == pid
            await client.close()
        # A replacement inherits the addresses; nobody else's move.
        doomed = next(worker for worker in cluster.workers.values() if worker.pid == at["127.0.0.1"])
        async with cluster.events("listening") as heard:
            doomed.kill()
            replacement = (await anext(heard)).worker.pid
        for source, pid in at.items():
            client = await connect_from(source, address)
            assert await client.ask() == (replacement if pid == doomed.pid else pid)
            await client.close()


async def test_least_connections_fills_up_whoever_has_fewest() -> None:
    cluster = Cluster(serve, workers=2, scheduling="least_connections")
    async with serving(cluster, 2) as address:
        clients = [await Client.connect(address) for _ in range(20)]
        at = [await client.ask() for client in clients]
        emptied = at[0]
        for client, pid in zip(clients, at, strict=True):
            if pid == emptied:
                await client.close()
        while any(worker.connections for worker in cluster.workers.values() if worker.pid == emptied):
            await asyncio.sleep(0.001)
        assert (await pids_of(address, 10)).count(emptied) > 5  # all, unless it has no room for a moment
        for client in clients:
            await client.close()


async def test_where_the_kernel_cannot_choose_by_address_the_primary_does(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = str(sock.fileno())
        target = "tests.connections.inside:serve_descriptor"
        async with serving(Cluster(target, workers=2, args=[fd], scheduling="reuse_port_ip_hash"), 2) as address:
            assert len(set(await pids_of(address, 10))) == 1
    assert (
        caplog.messages.count(
            f"the primary's descriptor {fd}: the kernel can't choose by client address; using 'ip_hash' instead"
        )
        == 1
    )


# ---- where a policy is named


async def test_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOCLUSTER_SCHEDULING", "ip_hash")
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2) as address:
        assert len(set(await pids_of(address, 10))) == 1  # they all come from one address
        assert cluster.stats().ports[0].scheduling == "ip_hash"


async def test_an_environment_that_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOCLUSTER_SCHEDULING", "fastest_first")
    with pytest.raises(ValueError, match=r"round_robin, .*not 'fastest_first'"):
        Cluster(serve, workers=2)


async def test_a_policy_for_one_port_alone() -> None:
    cluster = Cluster(
        "tests.connections.inside:serve_two_ports", workers=2, args=["ip_hash", "weighted_round_robin"], weights=[3, 1]
    )
    async with cluster.events("listening") as heard, cluster:
        ports: dict[str, Listening] = {}
        for _ in range(4):
            event = await anext(heard)
            ports[str(event.address)] = event
        by_policy = {port.scheduling: port.address for port in cluster.stats().ports}
        assert set(by_policy) == {"ip_hash", "weighted_round_robin"}
        assert len(set(await pids_of(by_policy["ip_hash"], 10))) == 1
        assert sorted(Counter(await pids_of(by_policy["weighted_round_robin"], 8, cluster)).values()) == [2, 6]


async def test_the_primary_opens_a_port_with_a_policy() -> None:
    async with Primary(serve) as primary, primary.events("listening") as heard:
        with pytest.raises(ValueError, match="not 'fairest'"):
            await primary.listen("127.0.0.1", 0, scheduling="fairest")
        address = await primary.listen("127.0.0.1", 0, scheduling="ip_hash")
        for _ in range(2):
            await primary.fork()
            assert (await anext(heard)).address == address
        assert [port.scheduling for port in primary._stats()[1]] == ["ip_hash"]
        assert len(set(await pids_of(address, 10))) == 1
        await primary.disconnect()


@pytest.mark.parametrize(
    ("asked", "named"),
    [("10,20", "backlog 10.*20"), ("10 random,10 fair", "'random'.*'fair'"), ("10 fair,10", None)],
)
async def test_the_first_to_ask_for_a_port_wins_and_others_are_warned(
    asked: str, named: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster("tests.connections.inside:serve_with_backlogs", workers=1, args=[asked])
    async with serving(cluster, 1) as address:
        assert not caplog.records
        async with cluster.events("listening") as heard:
            await cluster.scale(2)
            assert (await anext(heard)).address == address
        warnings = [record.getMessage() for record in caplog.records]
        if named is None:
            assert not warnings
        else:
            (warning,) = warnings
            assert str(address) in warning
            assert re.search(named, warning)
        assert len(set(await pids_of(address, 60))) == 2


# ---- one's own


class Newest:
    """The worker that came last."""

    def __init__(self) -> None:
        self.workers: list[Any] = []
        self.clients: list[Any] = []

    def add(self, worker: Any) -> None:
        self.workers.append(worker)

    def remove(self, worker: Any) -> None:
        self.workers.remove(worker)

    def pick(self, client: Any) -> Any:
        self.clients.append(client)
        return max(self.workers, key=lambda worker: worker.slot)


class Nonsense(Newest):
    """Picks what no policy may."""

    picks: Any = None

    def pick(self, client: Any) -> Any:
        return self.picks


class Unhashable(Nonsense):
    picks: Any = []  # noqa: RUF012


class Stranger(Nonsense):
    picks: Any = "a worker"


class Raising(Newest):
    def pick(self, client: Any) -> Any:
        raise RuntimeError("no idea")


class AlwaysRaising(Raising):
    def add(self, worker: Any) -> None:
        raise RuntimeError("too much")

    def remove(self, worker: Any) -> None:
        raise RuntimeError("too much")


class Gone(Newest):
    """Picks workers that may not be picked any more."""

    def remove(self, worker: Any) -> None:
        pass

    def pick(self, client: Any) -> Any:
        return self.workers[0]


async def test_ones_own_policy() -> None:
    policy = Newest()
    cluster = Cluster(serve, workers=3, scheduling=policy)
    async with serving(cluster, 3) as address:
        newest = max(cluster.workers.values(), key=lambda worker: worker._session.backend.slot)
        assert await pids_of(address, 10) == [newest.pid] * 10
        assert [client[0] for client in policy.clients] == ["127.0.0.1"] * 10


@pytest.mark.parametrize("policy", [Nonsense, Unhashable, Stranger, Raising, AlwaysRaising])
async def test_a_policy_that_fails_is_logged_and_round_robin_takes_the_connection(
    policy: type[Newest], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(serve, workers=2, scheduling=policy)
    async with serving(cluster, 2) as address:
        assert sorted(Counter(await pids_of(address, 10, cluster)).values()) == [5, 5]
        said = [record for record in caplog.records if record.name == "aiocluster.ports"]
        assert len(said) >= 10
        assert all("the policy" in record.getMessage() for record in said)
        assert policy not in (Raising, AlwaysRaising) or all(record.exc_info for record in said)


async def test_a_policy_that_picks_who_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(serve, workers=2, scheduling=Gone)
    async with serving(cluster, 2) as address:
        await cluster.scale(1)
        (worker,) = cluster.workers.values()
        assert await pids_of(address, 4) == [worker.pid] * 4


ERRORS = [RuntimeError, asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit]


class RaisesOfBadOnes(Peeking[Any]):
    """Raises where it is told to about clients that send "bad"."""

    peek_limit = 100
    patience = 1.0

    def __init__(self, where: str, error: type[BaseException]) -> None:
        self._turns: RoundRobin[Any] = RoundRobin()
        self._where = where
        self._error = error

    def add(self, worker: Any) -> None:
        self._turns.add(worker)
        self._may_raise("add", b"bad")

    def remove(self, worker: Any) -> None:
        self._turns.remove(worker)
        self._may_raise("remove", b"bad")

    def forget(self, worker: Any) -> None:
        self._turns.forget(worker)
        self._may_raise("forget", b"bad")

    def has_enough(self, first: bytes) -> bool:
        self._may_raise("has_enough", first)
        return True

    def pick_by(self, client: Any, first: bytes) -> Any:
        self._may_raise("pick_by", first)
        return self._turns.pick(client)

    def _may_raise(self, where: str, first: bytes) -> None:
        if where == self._where and first.startswith(b"bad"):
            raise self._error("as told")


@pytest.mark.parametrize(
    ("where", "error"),
    [
        *[("has_enough", error) for error in ERRORS],
        *[("pick_by", error) for error in ERRORS],
        *[(where, SystemExit) for where in ("add", "remove", "forget")],
    ],
)
async def test_whatever_a_peeking_policy_raises_costs_no_connection(
    where: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    before = signal.signal(signal.SIGINT, lambda *args: None)  # so that no Ctrl-C can have raised KeyboardInterrupt
    try:
        cluster = Cluster(serve, workers=2, scheduling=lambda: RaisesOfBadOnes(where, error), silent=True)
        async with serving(cluster, 2) as address:
            descriptors = len(os.listdir("/proc/self/fd"))
            clients = [socket.create_connection((address.host, address.port)) for _ in range(20)]  # in one turn
            for number, client in enumerate(clients):
                client.sendall(b"good\n" if number % 2 else b"bad\n")
                client.setblocking(False)
            loop = asyncio.get_running_loop()
            answers = [int(await loop.sock_recv(client, 100)) for client in clients]
            assert sorted(Counter(answers).values()) == [10, 10]
            for client in clients:
                client.close()
            await cluster.scale(1)
            while len(os.listdir("/proc/self/fd")) > descriptors or cluster.stats().ports[0].waiting:
                await asyncio.sleep(0.001)
    finally:
        signal.signal(signal.SIGINT, before)
    assert error.__name__ in caplog.text


@pytest.mark.parametrize("handler", ["the cluster's", "the program's"])
async def test_a_ctrl_c_while_a_policy_runs_is_passed_on(handler: str) -> None:
    code = (
        "import asyncio, signal, socket, sys\n"
        "from aiocluster import Cluster\n"
        "from tests.connections.inside import serve\n"
        "class Mine:\n"
        "    def add(self, worker): pass\n"
        "    def remove(self, worker): pass\n"
        "    def pick(self, client): signal.raise_signal(signal.SIGINT)\n"
        "async def main():\n"
        "    cluster = Cluster(serve, workers=1, scheduling=Mine)\n"
        "    async with cluster.events('listening') as heard, cluster:\n"
        '        if sys.argv[1] == "the program\'s":\n'
        "            signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "        event = await anext(heard)\n"
        "        with socket.create_connection((event.address.host, event.address.port)):\n"
        "            await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    root = Path(__file__).parent.parent.parent
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, handler, env={**os.environ, "PYTHONPATH": str(root)}, stderr=asyncio.subprocess.PIPE
    )
    _, text = await process.communicate()
    assert text.rstrip().endswith(b"KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("error", ERRORS)
async def test_a_policy_that_cannot_be_made_is_an_error_where_the_port_is_asked_for(error: type[BaseException]) -> None:
    made: list[Any] = []

    def make() -> Any:
        made.append(None)
        raise error("no policy today")

    async with Primary("tests.connections.inside:tell_why_it_cannot_listen", scheduling=make) as primary:
        async with primary.events("message") as heard:
            await primary.fork()
            message = (await anext(heard)).message
    assert made
    assert message == f"[Errno 22] {error.__name__}: no policy today".lower()


@pytest.mark.parametrize(
    ("limits", "text"), [({"peek_limit": 0}, "peek_limit must be"), ({"patience": float("nan")}, "patience must be")]
)
async def test_nonsense_limits_of_a_peeking_policy(limits: dict[str, Any], text: str) -> None:
    policy = type("Nonsense", (RaisesOfBadOnes,), limits)
    async with Primary(serve, scheduling=lambda: policy("", RuntimeError)) as primary:
        with pytest.raises(ValueError, match=text):
            await primary.listen("127.0.0.1", 0)


# ---- url_hash


async def test_url_hash_keeps_a_target_where_it_is() -> None:
    cluster = Cluster(serve, workers=3, scheduling="url_hash")
    async with serving(cluster, 3) as address:
        at = {target: await ask(address, target) for target in (f"/page/{number}" for number in range(40))}
        assert len(set(at.values())) == 3
        for target, pid in at.items():
            assert await ask(address, target) == pid
            assert await ask(address, f"http://example.org{target}") == pid  # the form for proxies


async def test_url_hash_of_a_request_line_that_comes_in_pieces() -> None:
    cluster = Cluster(serve, workers=3, scheduling="url_hash")
    async with serving(cluster, 3) as address:
        for number in range(6):
            target = f"/page/{number}"
            reader, writer = await asyncio.open_connection(address.host, address.port)
            client = Client(reader, writer)
            for piece in (b"\r\nGE", b"T /pa", b"ge/%d H" % number, b"TTP/1.1\r\n", b"\r\n"):
                writer.write(piece)
                await asyncio.sleep(0.002)  # so that they come one by one; nothing depends on it
            assert await client.answer() == await ask(address, target)
            await client.close()


@pytest.mark.parametrize("first", [b"", b"GE", b"GET /with/no/end"])
async def test_url_hash_lets_a_silent_client_wait_for_a_bounded_time(first: bytes) -> None:
    cluster = Cluster(serve, workers=2, scheduling="url_hash")
    async with serving(cluster, 2) as address:
        silent = [await asyncio.open_connection(address.host, address.port) for _ in range(4)]
        for _, writer in silent:
            writer.write(first)
        before = sum(worker.connections for worker in cluster.workers.values())
        assert before == 0
        assert await ask(address) > 0  # nobody waits for them
        while [worker.connections for worker in cluster.workers.values()] != [2, 2]:  # served in turn
            await asyncio.sleep(0.001)
        for reader, writer in silent:
            writer.write(b"\n")
            assert int(await reader.readline()) > 0
            writer.close()
            await writer.wait_closed()


async def test_url_hash_hands_over_at_once_what_is_not_http() -> None:
    cluster = Cluster(serve, workers=2, scheduling="url_hash")
    async with serving(cluster, 2) as address:
        began = asyncio.get_running_loop().time()
        pids = set()
        for _ in range(10):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(b"\x16\x03\x01\n")  # as TLS begins
            pids.add(int(await reader.readline()))
            writer.close()
            await writer.wait_closed()
        assert len(pids) == 2
        assert asyncio.get_running_loop().time() - began < 2.5  # of ten that would be 5 s of patience


async def test_url_hash_a_client_that_goes_while_it_is_looked_at() -> None:
    cluster = Cluster(serve, workers=2, scheduling="url_hash")
    async with serving(cluster, 2) as address:
        before = len(os.listdir("/proc/self/fd"))
        for first in (b"", b"GET /"):
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(first)
            writer.close()
            await writer.wait_closed()
        assert await ask(address) > 0
        while cluster.stats().ports[0].waiting or len(os.listdir("/proc/self/fd")) > before:
            await asyncio.sleep(0.001)
