from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster import BackplaneError
from aiocluster._redis.url import is_redis, parse, redacted


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {"hosts": (("localhost", 6379),), "db": 0, "tls": False, "prefix": "aiocluster"}),
        ("redis://:a%40%2F@h:1/3?prefix=shop", {"password": "a@/", "user": None, "db": 3, "prefix": "shop"}),
        ("rediss://u:p@[::1]:6/", {"user": "u", "password": "p", "hosts": (("::1", 6),), "tls": True}),
        ("unix:///run/x.sock?db=2&password=p", {"socket": "/run/x.sock", "db": 2, "password": "p", "hosts": ()}),
        ("unix://u:p@/run/a%20b", {"socket": "/run/a b", "user": "u", "password": "p"}),
        (
            "redis+sentinel://:p@a,b:7/mymaster/2?sentinel_password=q",
            {"hosts": (("a", 26379), ("b", 7)), "service": "mymaster", "db": 2, "options": {"sentinel_password": "q"}},
        ),
        ("rediss+cluster://a:7000,b", {"kind": "cluster", "hosts": (("a", 7000), ("b", 6379)), "tls": True}),
    ],
)
def test_the_parts_of_a_url(url: str, expected: dict[str, object]) -> None:
    parts = parse(url)
    assert {name: getattr(parts, name) for name in expected} == expected
    assert is_redis(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redi://x:secret@h", "there is no scheme 'redi'; did you mean 'redis'?"),
        ("nonsense", "there is no scheme ''"),
        ("redis:/secret@h", "two slashes"),
        ("redis://:p@secret/w@h", "write '@' as %40"),
        ("redis://:p?secret@h", "write '@' as %40"),
        ("redis://:secret", "it must have a host"),
        ("redis://h:99999", "it must have a host"),
        ("redis://a,b", "only redis+sentinel:// and redis+cluster:// may have several hosts"),
        ("redis://h/x", "'x' is not the number of a database"),
        ("redis+cluster://h/1", "only the database 0"),
        ("redis+sentinel://h", "what Sentinel calls the master"),
        ("unix://h/run/x", "the absolute path of a socket"),
        ("redis://h?prefix=*", "its prefix must be"),
        ("redis://h?prefix=", "its prefix must be"),
        ("redis://h?password=secret&prefix=*", "its prefix must be"),
    ],
)
def test_what_is_no_url_of_a_redis(url: str, why: str) -> None:
    with pytest.raises(BackplaneError) as caught:
        parse(url)
    text = str(caught.value)
    assert why in text
    assert "secret" not in text
    assert "\n" not in text
    assert caught.value.__cause__ is None


@given(
    scheme=st.sampled_from(["redis", "rediss", "unix", "redis+cluster", "http", "redi"]),
    user=st.text(),
    password=st.text(min_size=3),
    place=st.sampled_from(["h", "h:1", "h:1/2", "[::1]:3", "/run/x", "a,b:2/m?x=y"]),
)
def test_a_password_is_never_shown(scheme: str, user: str, password: str, place: str) -> None:
    user = user.replace(":", "")
    secret = f"pw-{password}-wp"
    url = f"{scheme}://{user}:{secret}@{place}"
    assert secret not in redacted(url)
    try:
        shown = f"{parse(url)} {parse(url)!r}"
    except BackplaneError as error:
        shown = f"{error} {error!r}"
    assert "pw-" not in shown.replace(user, "")
    assert "-wp" not in shown.replace(user, "")
