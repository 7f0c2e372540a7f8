"""A reload of an app: what it reads again, and what happens if it is broken."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from aiocluster import Cluster, ReloadError
from aiocluster.events import Address
from aiocluster.integrations.asgi import AsgiApp

SOURCE = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def write_certificate(ca: trustme.CA, folder: Path) -> None:
    certificate = ca.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))


async def serial_number(address: Address, context: ssl.SSLContext) -> str:
    """Makes one request. Returns the serial number of the server's certificate."""
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"\r\n\r\nok")
    serial: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await writer.wait_closed()
    return serial


async def test_a_reload_reads_certificates_again_and_a_broken_app_replaces_nobody(tmp_path: Path) -> None:
    module = tmp_path / "reloaded_shop.py"
    module.write_text(SOURCE)
    ca = trustme.CA()
    write_certificate(ca, tmp_path)
    context = ssl.create_default_context()
    ca.configure_trust(context)
    options = {"ssl_certfile": "cert.pem", "ssl_keyfile": tmp_path / "key.pem", "log_level": "critical"}
    cluster = Cluster(AsgiApp("reloaded_shop:app", bind=["127.0.0.1:0"], uvicorn=options), workers=1, cwd=tmp_path)
    async with cluster.events("listening") as heard, cluster:
        address = (await anext(heard)).address
        old = await serial_number(address, context)
        seen = [old]

        async def keep_asking() -> None:
            while True:
                seen.append(await serial_number(address, context))

        async with asyncio.TaskGroup() as group:  # an answer that is lost fails the test
            asking = group.create_task(keep_asking())
            write_certificate(ca, tmp_path)
            await cluster.reload()
            new = await serial_number(address, context)
            assert new != old
            while seen[-1] != new:
                await asyncio.sleep(0)
            assert seen == sorted(seen, key=[old, new].index)

            (pid,) = [worker.pid for worker in cluster.workers.values()]
            module.write_text(f"{SOURCE}\nimport nothing_of_that_name\n")
            with pytest.raises(ReloadError, match="nothing_of_that_name"):
                await cluster.reload()
            assert await serial_number(address, context) == new
            assert [worker.pid for worker in cluster.workers.values()] == [pid]
            asking.cancel()
