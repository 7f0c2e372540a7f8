"""The same client's address, the same worker."""

from __future__ import annotations

from typing import Any

import pytest

from aiocluster.scheduling import IpHash
from aiocluster.scheduling.ip_hash import address_key

from .candidates import Worker, fill


def test_the_port_does_not_count_and_a_mapped_address_is_the_address() -> None:
    policy: IpHash[Worker] = IpHash()
    fill(policy, *[1] * 64)
    for host, *others in [
        ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207"),
        ("2001:db8::1",),
        ("fe80::1", "fe80::1%eth0"),
    ]:
        expected = policy.pick((host, 1))
        for other in (host, *others):
            assert policy.pick((other, 2)) is expected
            assert policy.pick((other, 3, 0, 0)) is expected
    assert len({policy.pick((f"2001:db8::{number:x}", 1, 0, 0)) for number in range(64)}) > 30


@pytest.mark.parametrize("nameless", ["", b""])
def test_unix_clients_without_a_name_are_served_in_turn(nameless: str | bytes) -> None:
    policy: IpHash[Worker] = IpHash()
    fill(policy, 1, 1, 1)
    assert [policy.pick(nameless).slot for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    for name in ("/run/client\udcff.sock", b"\0client"):
        assert len({policy.pick(name) for _ in range(6)}) == 1


@pytest.mark.parametrize(
    ("client", "key"),
    [
        (("192.0.2.7", 1), b"192.0.2.7"),
        (("::ffff:192.0.2.7", 1, 0, 0), b"192.0.2.7"),
        (("::ffff:c000:207", 1, 0, 0), b"192.0.2.7"),
        (("::ffff:0:c000:207", 1, 0, 0), b"::ffff:0:c000:207"),  # begins like one, but is not mapped
        (("fe80::1%eth0", 1, 0, 2), b"fe80::1"),
        (("2001:db8::1", 1, 0, 0), b"2001:db8::1"),
        ("/run/client.sock", b"/run/client.sock"),
        ("/run/\udcff", b"/run/\xff"),
        (b"\0abstract", b"\0abstract"),
        ("", b""),
        (b"", b""),
    ],
)
def test_what_identifies_a_client(client: Any, key: bytes) -> None:
    assert address_key(client) == key
