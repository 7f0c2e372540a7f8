"""What a command line of ``run`` asks for: whose its words are, and where a value comes from. Starts no process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from aiocluster import RestartPolicy
from aiocluster._cli.request import RunRequest, parse_run
from aiocluster.integrations.asgi import AsgiApp

SOURCE = """
import functools
async def app(scope, receive, send): ...
def wsgi(environ, start_response): ...
def create_app(): ...
def main(*words): ...
@functools.cache
def cached(): ...
if True:
    def either(): ...
else:
    either = app
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the module ``shop``, and no variables of the command."""
    for name in [name for name in os.environ if name.startswith("AIOCLUSTER_")]:
        monkeypatch.delenv(name)
    (tmp_path / "shop.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    return tmp_path


def parsed(line: str) -> RunRequest:
    return parse_run(line.split())


def settings(line: str) -> dict[str, Any]:
    """The settings that were given, without the two that are always there."""
    found: dict[str, Any] = dict(parsed(line).settings)
    del found["args"], found["systemd"]
    return found


def refusal(line: str) -> str:
    with pytest.raises(click.UsageError) as caught:
        parsed(line)
    return caught.value.format_message()


# ---- whose words


@pytest.mark.parametrize(
    ("line", "target", "args"),
    [
        ("app.py -w 4 --port 5 -- --help", "app.py", "-w 4 --port 5 -- --help"),
        ("-w 4 app.py", "app.py", ""),
        ("-w 4 -- app.py -- x", "app.py", "-- x"),
        ("uvicorn shop:app --port 8000", "uvicorn", "shop:app --port 8000"),
        ("shop:main a --workers 3", "shop:main", "a --workers 3"),
        ("shop:main --config x --unknown", "shop:main", "--config x --unknown"),
        ("shop:cached -- --unknown", "shop:cached", "--unknown"),
        ("shop:main -- -- x", "shop:main", "-- x"),
        ("shop:app --workers 4", "shop:app", ""),
        ("shop:wsgi --workers 4", "shop:wsgi", ""),
    ],
)
def test_what_follows_a_target(line: str, target: str, args: str) -> None:
    request = parsed(line)
    assert request.target == target
    assert request.settings["args"] == tuple(args.split())


@pytest.mark.parametrize("line", ["--workers 4 --port 80 shop:app", "shop:app --workers 4 --port 80"])
def test_options_before_and_after_an_app(line: str) -> None:
    assert parsed(line).target == AsgiApp("shop:app", uvicorn={"port": 80})
    assert settings(line) == {"workers": 4}


def test_all_options_of_an_app() -> None:
    line = "shop:create_app --factory --bind :80 --bind unix:x --uds-mode 660 --fd 3 --ssl-certfile c --ssl-keyfile k"
    assert parsed(line).target == AsgiApp(
        "shop:create_app",
        factory=True,
        bind=[":80", "unix:x"],
        uds_mode=0o660,
        fd=3,
        uvicorn={"ssl_certfile": "c", "ssl_keyfile": "k"},
    )
    made = AsgiApp("shop:create_app", factory=True, uvicorn={"port": 80})
    for line in ("--factory shop:create_app --port 80", "--port 80 shop:create_app --factory"):
        assert (parsed(line).target, parsed(line).settings["args"]) == (made, ())
    line = "shop:app --root-path /x --header a:b:c --no-access-log --limit-concurrency 5"
    assert parsed(line).target == AsgiApp(
        "shop:app",
        uvicorn={"root_path": "/x", "headers": [["a", "b:c"]], "access_log": False, "limit_concurrency": 5},
    )
    assert parsed("--root-path /x shop:app").target == AsgiApp("shop:app", uvicorn={"root_path": "/x"})


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("shop:app --wrokers 4", "No such option '--wrokers'. (Did you mean one of: '--workers', "),
        ("shop:app --acess-log", "No such option '--acess-log'. (Did you mean one of: '--access-log', "),
        ("shop:app --port 80 extra", "'extra' after the options of shop:app is none; a function's own words follow --"),
        ("shop:app --bind :80 --port 80", "--bind has the host and the port: leave out --host and --port"),
        ("--factory shop:create_app --own-option", "No such option '--own-option'"),
        ("--factory shop:create_app today", "'today' after the options of shop:create_app is none"),
        ("--factory shop:create_app -- --today", "'--today' after the options of shop:create_app is none"),
        ("shop:app --port 70000", "port"),
        ("shop:app --port x", "Invalid value for '--port': 'x' is not a whole number"),
        ("shop:app --bind nonsense:x", "bind"),
        ("shop:app --header x", "--header: 'x' is not NAME:VALUE"),
        ("--port 80 app.py", "--port is for an ASGI app (module:name), and app.py is none"),
        ("--root-path /x app.py", "--root-path is for an ASGI app (module:name), and app.py is none"),
        ("", "there is no TARGET"),
        ("--", "there is no TARGET"),
        ("-w", "Option '-w' requires an argument."),
        ("--log-level loud app.py", "'loud' is not one of 'debug'"),
    ],
)
def test_a_usage_error(line: str, text: str) -> None:
    assert text in refusal(line)


def test_without_uvicorn_its_options_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvicorn.main", None)
    assert "if it is uvicorn's: pip install aiocluster[web]" in refusal("shop:app --root-path /x")
    assert settings("shop:app --workers 4") == {"workers": 4}


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        (
            "app.py -w 4 x",
            "what follows app.py is its own, so is -w 4; for the cluster: aiocluster run -w 4 app.py x",
        ),
        ("-w 2 app.py --pin-cpus x", "for the cluster: aiocluster run -w 2 --pin-cpus app.py x"),
        ("shop:main --workers=4", "for the cluster: aiocluster run --workers=4 shop:main"),
        (
            "-w 4 uvicorn shop:app --workers 4",
            "is uvicorn's own and starts more processes below each worker; for the cluster: aiocluster run -w 4",
        ),
        (
            "bin/uvicorn shop:app --reload --port 1",
            "for the cluster: aiocluster run --reload bin/uvicorn shop:app --port 1",
        ),
        ("hypercorn -w4 shop:app", "for the cluster: aiocluster run -w 4 hypercorn shop:app"),
        ("-w 4 app.py -w 4", None),
        ("app.py x -w 4", None),
        ("app.py --port 80", None),
        ("app.py --config x", None),
        ("uvicorn shop:app --workers 1", None),
        ("uvicorn --port 80 shop:app", None),
        ("shop:app --workers 4", None),
    ],
)
def test_words_that_probably_mean_something_else(line: str, warning: str | None) -> None:
    found = parsed(line).warnings
    if warning is None:
        assert found == ()
    else:
        (only,) = found
        assert warning in only


# ---- values


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-w auto", {"workers": "auto"}),
        ("-w 2:8", {"workers": (2, 8)}),
        ("--max-memory 512M", {"max_memory": 512 * 2**20}),
        ("--max-memory 1.5GiB", {"max_memory": 3 * 2**29}),
        ("--hang-timeout 1500ms --drain-delay 2m", {"hang_timeout": 1.5, "drain_delay": 120.0}),
        ("--weights 3,1 -w 2", {"weights": (3, 1), "workers": 2}),
        ("--uid root --gid 7", {"uid": 0, "gid": 7}),
        ("--restart no", {"restart": None}),
        ("--restart 3/10 --restart-backoff 1:2", {"restart": RestartPolicy(3, 10.0, (1.0, 2.0))}),
        ("--restart-backoff 0:1", {"restart": RestartPolicy(backoff=(0.0, 1.0))}),
        ("--env A=1 --env B==", {"env": {"A": "1", "B": "="}}),
        ("--agent jobs=shop:main", {"agents": {"jobs": "shop:main"}}),
        ("--preload json --preload ssl", {"preload": ("json", "ssl")}),
        ("--exec-arg -X --exec-arg dev", {"exec_args": ("-X", "dev")}),
        ("--pin-cpus --stdin inherit", {"pin_cpus": True, "stdin": "inherit"}),
    ],
)
def test_a_value(line: str, expected: Mapping[str, Any]) -> None:
    assert settings(f"{line} app.py") == expected


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("-w 0", "'-w' / '--workers': workers must be a whole number from 1 on, not 0"),
        ("-w 8:2", "the lower number first"),
        ("-w 2:", "'2:' is neither a number, nor LOW:HIGH, nor auto"),
        ("--max-memory lots", "'lots' is neither a number of bytes"),
        ("--hang-timeout 0", "hang_timeout must be a number of seconds above 0, not 0.0"),
        ("--drain-delay 5y", "'5y' is neither a number of seconds"),
        ("--uid nobody-of-that-name", "there is no user 'nobody-of-that-name' on this system"),
        ("--restart 3/0", "period must be a number of seconds above 0"),
        ("--restart-backoff 2:1", "the shorter first"),
        ("--env A", "'A' is not NAME=VALUE"),
        ("--agent jobs", "'jobs' is not NAME=TARGET"),
        ("--cwd missing", "there is no folder 'missing'"),
        ("--executable missing", "there is no program 'missing'"),
        ("--loop trio", "'trio' is not one of"),
        ("--env-file missing", "--env-file: missing can't be read: No such file or directory"),
        ("--config missing", "--config: missing can't be read: No such file or directory"),
    ],
)
def test_a_value_that_is_none(line: str, text: str) -> None:
    assert text in refusal(f"{line} app.py")


# ---- sources


def test_the_command_line_comes_before_variables_and_these_before_toml(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text(
        '[tool.aiocluster]\nworkers = 2\nmax-memory = "1G"\nscheduling = "random"\ntarget = "shop:app"\nport = 1\n'
    )
    monkeypatch.setenv("AIOCLUSTER_WORKERS", "3")
    monkeypatch.setenv("AIOCLUSTER_SCHEDULING", "fair")
    assert settings("-w 4") == {"workers": 4, "scheduling": "fair", "max_memory": 2**30}
    assert settings("") == {"workers": 3, "scheduling": "fair", "max_memory": 2**30}
    assert parsed("").target == AsgiApp("shop:app", uvicorn={"port": 1})
    assert parsed("other.py").target == "other.py", "what is for an app does not hinder a script"
    assert parsed("shop:main a").target == "shop:main", "nor a function"
    monkeypatch.setenv("AIOCLUSTER_FACTORY", "yes")
    assert "say --factory in front" in refusal("shop:create_app --port 80")
    monkeypatch.delenv("AIOCLUSTER_FACTORY")
    monkeypatch.setenv("AIOCLUSTER_TARGET", "shop:main")
    assert parsed("--bind :9").target == AsgiApp("shop:main", bind=[":9"]), "a higher source's address overrules"


def test_toml_has_numbers_lists_and_tables(folder: Path) -> None:
    (folder / "cluster.toml").write_text(
        'workers = [2, 8]\nmax_memory = 1000\nrestart = false\npreload = "json"\npin-cpus = true\nroot-path = "/x"\n'
        'bind = [":1", ":2"]\nuds-mode = 0o600\n[env]\nA = "1"\n[agents]\njobs = "shop:main"\n'
    )
    line = "shop:app --config cluster.toml"
    assert settings(line) == {
        "workers": (2, 8),
        "max_memory": 1000,
        "restart": None,
        "preload": ("json",),
        "pin_cpus": True,
        "env": {"A": "1"},
        "agents": {"jobs": "shop:main"},
    }
    assert parsed(line).target == AsgiApp("shop:app", bind=[":1", ":2"], uds_mode=0o600, uvicorn={"root_path": "/x"})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("wrokers = 4", "cluster.toml: there is no option 'wrokers'; did you mean 'workers'?"),
        ("acess_log = true", "cluster.toml: there is no option 'acess_log'; did you mean 'access-log'?"),
        ("workers = 'many'", "Invalid value for workers in cluster.toml: 'many' is neither"),
        ("workers = 0", "Invalid value for workers in cluster.toml: workers must be a whole number from 1 on"),
        ("workers = [1, 2, 3]", "Invalid value for workers in cluster.toml"),
        ("workers = 2.5", "Invalid value for workers in cluster.toml"),
        ("max_memory = true", "Invalid value for max-memory in cluster.toml"),
        ("weights = 3", "Invalid value for weights in cluster.toml"),
        ("restart = {limits = 3}", "there is no 'limits' in it"),
        ("restart = [1]", "Invalid value for restart in cluster.toml"),
        ("cwd = 5", "Invalid value for cwd in cluster.toml: 5 is not text"),
        ("preload = [1]", "cluster.toml: preload must be text, a list of texts or a table of texts, not [1]"),
        ("env = {A = 1}", "cluster.toml: env must be text, a list of texts or a table of texts"),
        ("agent = 'a=b'\nagents = 'a=b'", "is there twice"),
        ("log-config = 5", "cluster.toml: log-config must be a path, not 5"),
        ("workers = ", "cluster.toml is not valid TOML: "),
        ("config = 'x'", "there is no option 'config'"),
    ],
)
def test_toml_that_is_wrong(folder: Path, text: str, error: str) -> None:
    (folder / "cluster.toml").write_text(text)
    assert error in refusal("--config cluster.toml app.py")


def test_a_pyproject_of_others_is_no_matter(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.other]\nworkers = 2\n")
    assert settings("app.py") == {}
    (folder / "pyproject.toml").write_text("[tool.other\n")
    assert settings("app.py") == {}
    (folder / "pyproject.toml").write_text("tool = 1\n")
    assert settings("app.py") == {}
    (folder / "pyproject.toml").write_text("[tool]\naiocluster = 1\n")
    assert "tool.aiocluster must be a table" in refusal("app.py")


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOCLUSTER_ENV", "A='1 2' B=3")
    monkeypatch.setenv("AIOCLUSTER_PIN_CPUS", "no")
    monkeypatch.setenv("AIOCLUSTER_ROOT_PATH", "/x")
    monkeypatch.setenv("AIOCLUSTER_SLOT", "1")
    monkeypatch.setenv("AIOCLUSTER_HEARTBEAT", "")
    assert settings("shop:app") == {"env": {"A": "1 2", "B": "3"}, "pin_cpus": False}
    assert parsed("shop:app").target == AsgiApp("shop:app", uvicorn={"root_path": "/x"})
    monkeypatch.setenv("AIOCLUSTER_WORKERS", "many")
    assert refusal("app.py").startswith("Invalid value for the variable AIOCLUSTER_WORKERS: 'many' is neither")
    assert settings("-w 4 app.py")["workers"] == 4
    monkeypatch.setenv("AIOCLUSTER_ENV", "A='1")
    assert 'the variable AIOCLUSTER_ENV: "A=\'1" is not quoted' in refusal("-w 1 app.py")


def test_a_file_of_variables(folder: Path) -> None:
    (folder / "one.env").write_text("# a comment\n\nA=1 # one\nexport B = 'two words' # two\nC=\nD=\"x=#y\"\nE=a#b\n")
    (folder / "two.env").write_text("A=2\nF=6\n")
    found = settings("--env-file one.env --env-file two.env --env F=7 app.py")
    assert found == {"env": {"A": "2", "B": "two words", "C": "", "D": "x=#y", "E": "a#b", "F": "7"}}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("A", "bad.env, line 2: a line is NAME=VALUE, a comment or empty"),
        ("A B=1", "line 2: a line is NAME=VALUE"),
        ("A='1", "line 2: No closing quotation"),
        ("A='1' 2", "line 2: something stands behind the quoted value"),
        ("=1", "line 2: "),
    ],
)
def test_a_file_of_variables_that_is_wrong(folder: Path, line: str, text: str) -> None:
    (folder / "bad.env").write_text(f"OK=1\n{line}\n")
    assert text in refusal("--env-file bad.env app.py")
