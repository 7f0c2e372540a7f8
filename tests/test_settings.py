"""Settings: validated once, and then they stay what they are."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
import sys
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest

from aiocluster import RestartPolicy, Settings
from aiocluster.settings import (
    _NAMES,
    AT_THE_START,
    ClusterSettings,
    ClusterSetupSettings,
    PrimarySettings,
    SetupSettings,
)


def test_the_defaults_are_the_promised_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOCLUSTER_SCHEDULING", raising=False)
    settings = Settings()
    assert settings.target is None
    assert settings.args == settings.exec_args == settings.preload == ()
    assert {settings.env, settings.cwd, settings.stdin, settings.executable, settings.uid, settings.gid} == {None}
    assert settings.silent is settings.pin_cpus is False
    assert (settings.loop, settings.start_method, settings.scheduling) == ("auto", "spawn", "least_busy")


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
    changed = settings._changed("Primary", {"args": ["b", "c"], "cwd": Path("/")})
    assert changed.args == ("b", "c")
    assert changed.cwd == Path("/")
    assert changed.silent is True
    assert changed.env == {"A": "1"}
    assert settings.args == ("a",)
    assert settings._changed("Primary", {}) == settings


def test_changed_validates_as_well() -> None:
    with pytest.raises(ValueError, match=r"^loop must be one of"):
        Settings()._changed("Primary", {"loop": "curio"})


@pytest.mark.parametrize(
    ("owner", "name", "text"),
    [
        ("Cluster", "shceduling", "Cluster has no setting 'shceduling'; did you mean 'scheduling'?"),
        ("Cluster", "wrkers", "Cluster has no setting 'wrkers'; did you mean 'workers'?"),
        ("Primary", "agrs", "Primary has no setting 'agrs'; did you mean 'args'?"),
        ("Primary", "workers", "Primary has no setting 'workers'; there are args, cwd, "),
    ],
)
def test_an_unknown_name_is_refused_and_the_nearest_suggested(
    owner: Literal["Primary", "Cluster"], name: str, text: str
) -> None:
    with pytest.raises(TypeError) as caught:
        Settings()._changed(owner, {name: 4})
    assert str(caught.value).startswith(text)


def test_all_that_is_wrong_is_listed_in_one_error() -> None:
    with pytest.raises(TypeError) as caught:
        Settings()._changed("Cluster", {"workers": "4", "shceduling": "random", "args": "x", "heartbeat": 0, "uid": 1})
    assert str(caught.value).splitlines() == [
        "4 settings are wrong:",
        "    Cluster has no setting 'shceduling'; did you mean 'scheduling'?",
        "    workers must be a whole number from 1 on, or \"auto\", not '4'",
        "    args must be a sequence of str, not 'x'",
        "    heartbeat must be a number of seconds above 0, not 0",
    ]
    with pytest.raises(ValueError, match=r"^2 settings are wrong:\n    loop must .*\n    workers must "):
        Settings(loop="curio", workers=0)  # type: ignore[arg-type]


def test_the_typed_dicts_say_what_the_table_says() -> None:
    """Type checkers read the TypedDicts, and Python the table."""
    table = get_type_hints(Settings)
    for typed, owner in ((PrimarySettings, "Primary"), (ClusterSettings, "Cluster")):
        names = {one.name for one in dataclasses.fields(Settings) if one.name in _NAMES[owner]} - {"target"}
        assert get_type_hints(typed) == {name: table[name] for name in names}
    assert get_type_hints(SetupSettings) == {**get_type_hints(PrimarySettings), "target": table["target"]}
    later = {name: kind for name, kind in get_type_hints(ClusterSettings).items() if name not in AT_THE_START}
    assert get_type_hints(ClusterSetupSettings) == {**later, "target": table["target"]}


@pytest.mark.parametrize("name", [one.name for one in dataclasses.fields(Settings)])
def test_each_setting_is_documented_and_its_default_is_right(name: str) -> None:
    assert f"\n    {name}: " in inspect.cleandoc(str(Settings.__doc__))
    Settings(**{name: getattr(Settings(), name)})


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("loop", "trio", ValueError, "loop must be one of 'auto', 'asyncio', 'uvloop', not 'trio'"),
        ("start_method", "fork", ValueError, "start_method must be one of"),
        ("scheduling", "fifo", ValueError, "scheduling must be one of"),
        ("scheduling", 7, ValueError, "scheduling must be one of"),
        ("uid", -1, ValueError, "uid must be a whole number from 0 on, not -1"),
        ("uid", "root", TypeError, "uid must be a whole number from 0 on, not 'root'"),
        ("gid", 1.5, TypeError, "gid must be a whole number from 0 on, not 1.5"),
        ("gid", True, TypeError, "gid must be a whole number from 0 on, not True"),
        ("pin_cpus", 1, TypeError, "pin_cpus must be True or False, not 1"),
        ("silent", 1, TypeError, "silent must be True or False, not 1"),
        ("cwd", 1, TypeError, "cwd must be a path, not 1"),
        ("stdin", "pipe", TypeError, "stdin must be None, \"inherit\", an open file or a descriptor, not 'pipe'"),
        ("stdin", True, TypeError, 'stdin must be None, "inherit", an open file or a descriptor, not True'),
        ("stdin", -1, ValueError, "stdin is not open: -1"),
        ("executable", ["python"], TypeError, "executable must be a path, not ['python']"),
        ("loop", 1, TypeError, "loop must be one of"),
        ("args", [1], TypeError, "args must be a sequence of str, not of 1"),
        (
            "env",
            7,
            TypeError,
            "env must be a mapping of str to str, or a function of the slot that returns one",
        ),
        ("env", {"A": 1}, TypeError, "env must be a mapping of str to str, not {'A': 1}"),
        ("heartbeat", "1", TypeError, "heartbeat must be a number of seconds above 0, not '1'"),
        ("heartbeat", 0, ValueError, "heartbeat must be a number of seconds above 0, not 0"),
        (
            "graceful_timeout",
            float("nan"),
            ValueError,
            "graceful_timeout must be a number of seconds from 0 on",
        ),
        ("graceful_timeout", True, TypeError, "graceful_timeout must be a number of seconds from 0 on, not True"),
        ("start_timeout", "30", TypeError, "start_timeout must be a number of seconds from 0 on, not '30'"),
        ("workers", "4", TypeError, "workers must be a whole number from 1 on, or \"auto\", not '4'"),
        ("workers", True, TypeError, "workers must be a whole number from 1 on, not True"),
        ("workers", 0, ValueError, "workers must be a whole number from 1 on, not 0"),
        ("workers", 2.5, TypeError, "workers must be a whole number from 1 on, not 2.5"),
        ("workers", (8, 2), ValueError, "workers must be (low, high), the lower number first, not (8, 2)"),
        ("workers", (0, 4), ValueError, "workers[0] must be a whole number from 1 on, not 0"),
        ("workers", (1, 0), ValueError, "workers[1] must be a whole number from 1 on, not 0"),
        ("workers", (True, 4), TypeError, "workers[0] must be a whole number from 1 on, not True"),
        ("workers", (2, 4.0), TypeError, "workers[1] must be a whole number from 1 on, not 4.0"),
        ("workers", (2, "8"), TypeError, "workers[1] must be a whole number from 1 on, not '8'"),
        ("workers", (1, 2, 3), TypeError, "workers must be a whole number, or two: (low, high), not (1, 2, 3)"),
        ("workers", (), TypeError, "workers must be a whole number, or two: (low, high), not ()"),
        ("workers", {2, 8}, TypeError, "workers must be a whole number from 1 on, not {8, 2}"),
        ("workers", "2:8", TypeError, "workers must be a whole number from 1 on, or \"auto\", not '2:8'"),
        ("weights", "12", TypeError, "weights must be a sequence of whole numbers, not '12'"),
        ("weights", [1, 0], ValueError, "weights must be a whole number from 1 on, not 0"),
        ("restart", 3, TypeError, "restart must be a RestartPolicy, or False (nobody is replaced), not 3"),
        ("restart", True, TypeError, "restart must be a RestartPolicy, or False (nobody is replaced), not True"),
        ("agents", ["jobs"], TypeError, "agents must be a mapping of names to targets, not ['jobs']"),
        ("hang_timeout", 0, ValueError, "hang_timeout must be a number of seconds above 0, not 0"),
        ("max_memory", "1G", TypeError, "max_memory must be a whole number from 1 on, not '1G'"),
        ("max_lifetime", float("nan"), ValueError, "max_lifetime must be a number of seconds above 0, not nan"),
        ("max_connections", 0, ValueError, "max_connections must be a whole number from 1 on, not 0"),
        ("reload_on_change", "src", TypeError, "reload_on_change must be a sequence of paths, not 'src'"),
        ("reload_on_change", ["no/such"], ValueError, "reload_on_change: there is no no/such"),
        ("health", 9000, TypeError, 'health must be an address such as "127.0.0.1:9000" or "unix:/path", not 9000'),
        ("health", "9000", ValueError, "health must be HOST:PORT, [IPV6]:PORT, unix:PATH"),
        ("health", "127.0.0.1:65536", ValueError, "health: a port is a number from 0 to 65535, not 65536"),
        ("health", "fd://3", ValueError, "health can't be a descriptor, as 'fd://3' is"),
        ("health", "a\0:1", ValueError, "health must not contain a null character"),
        ("systemd", 1, TypeError, "systemd must be True or False, not 1"),
        ("args", "--port 80", TypeError, "args must be a sequence of str, not '--port 80'"),
        ("args", {"a"}, TypeError, "args must be a sequence of str"),
        ("exec_args", "-X", TypeError, "exec_args must be a sequence of str"),
        ("preload", "json", TypeError, "preload must be a sequence of str"),
        ("env", [("A", "1")], TypeError, "env must be a mapping of str to str"),
        (
            "env",
            asyncio.sleep,
            TypeError,
            "env must be a mapping of str to str, or a function of the slot",
        ),
        ("env", {"A=B": "1"}, ValueError, "env: 'A=B' can't be the name of an environment variable"),
        ("env", {"": "1"}, ValueError, "env: '' can't be the name of an environment variable"),
        ("env", {"A": "1\0"}, ValueError, "env['A'] must not contain a null character: '1\\x00'"),
        ("args", ["a", "b\0"], ValueError, "args must not contain a null character: 'b\\x00'"),
        ("cwd", "/no\0", ValueError, "cwd must not contain a null character"),
        ("cwd", "/no/such", ValueError, "cwd: there is no folder '/no/such'"),
        ("executable", "/no/such", ValueError, "executable: there is no program '/no/such'"),
        ("executable", "no-such-python", ValueError, "executable: there is no program 'no-such-python'"),
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
    assert Settings().scheduling == "least_busy"
    monkeypatch.setenv("AIOCLUSTER_SCHEDULING", "fifo")
    with pytest.raises(ValueError, match=r"not 'fifo'$"):
        Settings()


def test_uvloop_has_to_be_installed_only_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiocluster.settings.find_spec", lambda name: None)
    monkeypatch.delitem(__import__("sys").modules, "uvloop", raising=False)
    with pytest.raises(ValueError, match=r"^loop='uvloop' needs uvloop, which is not installed: pip install uvloop$"):
        Settings(loop="uvloop")
    assert Settings(loop="auto").loop == "auto"


def test_paths_may_be_any_path_like() -> None:
    settings = Settings(cwd=Path("/"), executable=Path(sys.executable))
    assert os.fspath(settings.cwd or "") == "/"


def test_an_executable_may_be_a_name_or_a_path_below_cwd() -> None:
    assert Settings(executable="sh").executable == "sh"
    assert Settings(executable="bin/python", cwd="/").executable == "bin/python"


@pytest.mark.parametrize("nobody", [None, False])
def test_without_a_restart_policy_nobody_is_replaced(nobody: Literal[False] | None) -> None:
    assert Settings(restart=nobody).restart is None
    assert Settings().restart == RestartPolicy()


def test_each_setting_has_an_option_of_the_command_or_a_reason() -> None:
    from aiocluster._cli.options import NO_OPTION, SETTINGS

    names = {one.name for one in dataclasses.fields(Settings)}
    options = [one.name for one in SETTINGS]
    assert sorted([*options, *NO_OPTION]) == sorted(names), "a new setting is a line in aiocluster/_cli/options.py"
