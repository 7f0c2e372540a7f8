"""Which ``service.instance.id`` workers are given."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from aiocluster._primary import instance_id
from aiocluster._primary.instance_id import ATTRIBUTES, for_helper, for_worker, makes_none
from aiocluster._primary.launch import environment


@pytest.mark.parametrize(
    ("given", "worker", "helper"),
    [
        ("service.instance.id=web", "service.instance.id=web.3", ""),
        (" service.instance.id = web ,a=b", "a=b,service.instance.id=web.3", "a=b"),
        ("a=%2C%3D,service.instance.id=a=b", "a=%2C%3D,service.instance.id=a=b.3", "a=%2C%3D"),
        ("my.service.instance.id=web", None, None),
        ("service.instance.id=,service.name=shop", None, None),
        ("service.instance.id", None, None),
        ("", None, None),
    ],
)
def test_one_that_all_have_alike_becomes_each_workers(
    given: str, worker: str | None, helper: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_id, "_sdk_makes_none", lambda: False)
    assert for_worker({ATTRIBUTES: given}, 3).get(ATTRIBUTES) == worker
    assert for_helper({ATTRIBUTES: given}).get(ATTRIBUTES) == helper


def test_an_sdk_that_makes_none_is_given_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_id, "_sdk_makes_none", lambda: True)
    found = [for_worker({ATTRIBUTES: "a=b,"}, number)[ATTRIBUTES] for number in (1, 1)]
    assert all(one.startswith("a=b,service.instance.id=") for one in found)
    assert len({UUID(one.rpartition("=")[2]) for one in found}) == 2
    assert for_worker({}, 1)[ATTRIBUTES].startswith("service.instance.id=")
    assert for_helper({}) == {}


@pytest.mark.parametrize(
    ("version", "expected"), [("1.42.1", True), ("0.9b0", True), ("1.43.0", False), ("2.0.0", False), ("main", False)]
)
def test_which_sdk_makes_none(version: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "version").mkdir()
    (tmp_path / "version" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    assert makes_none([str(tmp_path / "elsewhere"), str(tmp_path)]) is expected


def test_what_was_given_to_one_worker_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ATTRIBUTES, "service.instance.id=cluster")
    own = {ATTRIBUTES: "service.instance.id=mine"}
    assert environment({}, own, 3, 0)[ATTRIBUTES] == "service.instance.id=mine"
    assert environment(own, {}, 3, 0)[ATTRIBUTES] == "service.instance.id=mine.3"
    assert environment({}, {}, 3, 0)[ATTRIBUTES] == "service.instance.id=cluster.3"
