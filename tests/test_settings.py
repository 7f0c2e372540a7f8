"""Settings: validated once, and then they stay what they are."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Settings


def test_the_defaults_are_the_promised_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOCLUSTER_SCHEDULING", raising=False)
    settings = Settings()
    assert settings.target is None
    assert settings.args == settings.exec_args == settings.preload == ()
    assert {settings.env, settings.cwd, settings.executable, settings.uid, settings.gid} == {None}
    assert settings.silent is False
    assert (settings.loop, settings.start_method, settings.scheduling) == ("auto", "spawn", "round_robin")


def test_settings_cannot_be_changed() -> None:
    args, env = ["a"], {"A": "1"}
    settings = Settings(args=args, env=env)
    args.append("b")
    env["B"] = "2"
    assert settings.args == ("a",)
    assert settings.env == {"A": "1"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.silent = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.env["B"] = "2"  # type: ignore[index]


def test_changed_replaces_some_and_keeps_the_others() -> None:
    settings = Settings(args=["a"], silent=True, env={"A": "1"})
    changed = settings.changed({"args": ["b", "c"], "cwd": Path("/")})
    assert changed.args == ("b", "c")
    assert changed.cwd == Path("/")
    assert changed.silent is True
    assert changed.env == {"A": "1"}
    assert settings.args == ("a",)
    assert settings.changed({}) == settings


def test_changed_validates_as_well() -> None:
    with pytest.raises(ValueError, match=r"^loop must be one of"):
        Settings().changed({"loop": "curio"})
    with pytest.raises(TypeError, match=r"^no setting is called 'worker'; there are args, .*uid$"):
        Settings().changed({"worker": 4})


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("loop", "trio", ValueError, "loop must be one of 'auto', 'asyncio', 'uvloop', not 'trio'"),
        ("start_method", "fork", ValueError, "start_method must be one of"),
        ("scheduling", "fifo", ValueError, "scheduling must be one of"),
        ("scheduling", None, ValueError, "scheduling must be one of"),
        ("uid", -1, ValueError, "uid must be a number from 0 on, not -1"),
        ("uid", "root", ValueError, "uid must be a number from 0 on, not 'root'"),
        ("gid", 1.5, ValueError, "gid must be a number from 0 on, not 1.5"),
        ("args", "--port 80", TypeError, "args must be a sequence of str, not '--port 80'"),
        ("args", {"a"}, TypeError, "args must be a sequence of str"),
        ("exec_args", "-X", TypeError, "exec_args must be a sequence of str"),
        ("preload", "json", TypeError, "preload must be a sequence of str"),
        ("env", [("A", "1")], TypeError, "env must be a mapping of str to str"),
    ],
)
def test_what_is_out_of_range_is_named(name: str, value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        Settings(**{name: value})
    assert str(caught.value).startswith(text)


def test_the_environment_sets_the_default_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOCLUSTER_SCHEDULING", "shared")
    assert Settings().scheduling == "shared"
    assert Settings(scheduling="round_robin").scheduling == "round_robin"
    monkeypatch.setenv("AIOCLUSTER_SCHEDULING", "")
    assert Settings().scheduling == "round_robin"
    monkeypatch.setenv("AIOCLUSTER_SCHEDULING", "fifo")
    with pytest.raises(ValueError, match=r"not 'fifo'$"):
        Settings()


def test_uvloop_has_to_be_installed_only_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(__import__("sys").modules, "uvloop", raising=False)
    with pytest.raises(ValueError, match=r"^loop='uvloop' needs uvloop, which is not installed: pip install uvloop$"):
        Settings(loop="uvloop")
    assert Settings(loop="auto").loop == "auto"


def test_paths_may_be_any_path_like() -> None:
    settings = Settings(cwd=Path("/"), executable=Path("/usr/bin/python3"))
    assert os.fspath(settings.cwd or "") == "/"
