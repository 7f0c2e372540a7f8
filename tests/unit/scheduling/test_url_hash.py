"""The same request target, the same worker."""

from __future__ import annotations

import pytest

from aiocluster.scheduling import UrlHash

from .candidates import CLIENT, Worker, fill


def test_the_same_target_goes_to_the_same_worker() -> None:
    policy: UrlHash[Worker] = UrlHash()
    fill(policy, *[1] * 16)
    requests = [b"GET /%d?x HTTP/1.1\r\n" % number for number in range(200)]
    first = [policy.pick_by(CLIENT, request) for request in requests]
    assert [policy.pick_by(("10.0.0.1", 1), request + b"Host: a\r\n\r\n") for request in requests] == first
    assert len(set(first)) == 16
    assert policy.pick_by(CLIENT, b"POST http://example.org/7?x HTTP/1.0\r\n") is first[7]


@pytest.mark.parametrize("first", [b"", b"GET /slow", b"\x16\x03\x01\x02\x00", b"SSH-2.0-x\r\n"])
def test_what_has_no_target_is_served_in_turn(first: bytes) -> None:
    policy: UrlHash[Worker] = UrlHash()
    fill(policy, 1, 1, 1)
    assert [policy.pick_by(CLIENT, first).slot for _ in range(4)] == [0, 1, 2, 0]
    assert [policy.pick(CLIENT).slot for _ in range(2)] == [1, 2]


def test_a_target_longer_than_the_limit_is_told_by_its_beginning() -> None:
    policy: UrlHash[Worker] = UrlHash()
    fill(policy, 1, 1, 1)
    first = (b"GET /" + b"a" * 10_000)[: policy.peek_limit]
    assert policy.has_enough(first)
    assert not policy.has_enough(first[:-1])
    assert len({policy.pick_by(CLIENT, first) for _ in range(6)}) == 1


def test_a_target_that_ends_at_the_limit_is_the_same_target() -> None:
    policy: UrlHash[Worker] = UrlHash()
    fill(policy, *[1] * 64)
    first = b"GET /" + b"a" * (policy.peek_limit - 5)
    assert policy.pick_by(CLIENT, first) is policy.pick_by(CLIENT, first + b" HTTP/1.1\r\n")
