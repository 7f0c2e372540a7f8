"""The state in a Redis Cluster, and in a Redis that Sentinel knows, and by TLS."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
import trustme

from aiocluster import BackplaneError
from tests.support.redis import PROGRAM, RedisServer, cluster_started, started

from .test_redis import _token, engine_of, state_of


async def test_a_redis_cluster() -> None:
    with cluster_started() as (one, other):
        url = f"redis+cluster://127.0.0.1:{one.port},127.0.0.1:{other.port}"
        async with state_of(url) as state, engine_of(url) as engine, state_of(f"{url}?prefix=x") as foreign:
            await engine.reach()
            keys = [f"k{number}" for number in range(20)]
            async with state.watch("k") as changes:
                await asyncio.gather(*(state.set(key, key, ttl=60) for key in keys))
                assert sorted([(await anext(changes)).value for _ in keys]) == sorted(keys)
            assert 0 < one.ask("DBSIZE") < 20
            assert await state.keys("k") == sorted(keys)
            assert await foreign.keys() == []
            assert await state.get_many([*keys, "none"]) == {key: key for key in keys}
            sums = await asyncio.gather(*(state.incr(f"n{number % 5}") for number in range(50)))
            assert sorted(sums) == sorted(list(range(1, 11)) * 5)
            assert await state.replace("n0", 10, "ten")
            with pytest.raises(TypeError):
                await state.incr("n0")
            assert await state.delete("n1")
            async with state.lock("job") as lease:
                waiting = asyncio.create_task(_token(foreign, "job"))
                assert await waiting > 0  # another prefix, another lock
                waiting = asyncio.create_task(_token(state, "job"))
            assert await waiting > lease.token
            other.kill()
            results = await asyncio.gather(*(state.incr(key) for key in "abcdefgh"), return_exceptions=True)
            assert 0 < sum(isinstance(result, BackplaneError) for result in results) < 8
            other.start()
            async with asyncio.timeout(20):
                while True:
                    try:
                        await asyncio.gather(*(state.set(key, 1) for key in keys))
                        break
                    except BackplaneError:
                        await asyncio.sleep(0.05)


async def test_sentinel(redis_server: RedisServer, own_redis: RedisServer, tmp_path: Path) -> None:
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor shop 127.0.0.1 {redis_server.port} 1\n")
    with started() as free:  # its port is free in a moment
        port = free.port
    config.write_text(config.read_text() + f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nlogfile log\n")
    assert PROGRAM is not None
    sentinel = subprocess.Popen([PROGRAM, str(config), "--sentinel"], stdin=subprocess.DEVNULL)
    try:
        async with state_of(f"redis+sentinel://127.0.0.1:{port}/shop/0") as state:
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert await state.incr("n") == 1
                        break
                    except BackplaneError:
                        await asyncio.sleep(0.02)
            async with state.mirror() as mirror:
                assert mirror["n"] == 1
                for command in ("REMOVE shop", f"MONITOR shop 127.0.0.1 {own_redis.port} 1"):
                    await _ask(port, f"SENTINEL {command}")
                redis_server.cut("normal")
                redis_server.cut("pubsub")
                assert await state.incr("n", 7) == 7  # by the one that is the master now
                async with asyncio.timeout(20):
                    while mirror.get("n") != 7:
                        await asyncio.sleep(0.01)
        async with engine_of(f"redis+sentinel://127.0.0.1:{port}/other") as engine:
            with pytest.raises(BackplaneError, match="No master found for 'other'"):
                await engine.reach()
    finally:
        sentinel.kill()
        sentinel.wait()


async def _ask(port: int, command: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{command}\r\n".encode())
    assert await reader.readline() == b"+OK\r\n"
    writer.close()
    await writer.wait_closed()


async def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    with started() as free:
        port = free.port
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(tmp_path / "ca.pem")]
    options += ["--tls-cert-file", str(tmp_path / "server.pem"), "--tls-key-file", str(tmp_path / "server.pem")]
    with started(*options):
        async with state_of(f"rediss://localhost:{port}?ssl_ca_certs={tmp_path}/ca.pem") as state:
            async with state.watch() as changes:
                sums = await asyncio.gather(*(state.incr("n") for _ in range(50)))
                assert sorted(sums) == list(range(1, 51))
                assert (await anext(changes)).value == 1
        async with engine_of(f"rediss://localhost:{port}") as engine:
            with pytest.raises(BackplaneError, match=r"can't be reached: .*CERTIFICATE_VERIFY_FAILED"):
                await engine.reach()
