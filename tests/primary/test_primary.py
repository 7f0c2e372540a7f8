"""Primary: targets of all kinds, settings, events in their order, messages, ports."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aiocluster
from aiocluster import (
    ClusterError,
    Primary,
    RemoteError,
    TargetError,
    WorkerNotFoundError,
    current_worker,
    is_primary,
    is_worker,
)
from aiocluster.events import Address, Disconnect, Error, Event, Exit, Fork, Listening, Message, Online, Setup
from tests.support.events import several
from tests.support.serving import EXAMPLES, ask

from .inside_primary import answer_requests, hello, hello_sync, nothing, repeat, talk, tell_settings

# ---- targets


async def pass_to_peers() -> None:
    """Sends what the primary says on to every other worker, each by its pid; and what those say to the primary."""
    worker = current_worker()
    async with worker.events("message") as heard:
        await worker.send("ready")
        async for event in heard:
            if event.sender == worker.primary_pid:
                for peer in worker.peers:
                    await worker.send_to(peer, event.message)
                with pytest.raises(WorkerNotFoundError):
                    await worker.send_to(1, "nobody")
            else:
                await worker.send([event.sender, event.message])


# ---- which process is this


def test_a_test_is_no_worker() -> None:
    assert is_primary()
    assert not is_worker()
    with pytest.raises(RuntimeError, match="this process is not a worker"):
        current_worker()


def test_everything_that_is_promised_can_be_imported() -> None:
    for name in vars(aiocluster)["__all__"]:
        assert getattr(aiocluster, name) is not None
    assert set(vars(aiocluster)["__all__"]) <= set(dir(aiocluster))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        aiocluster.nonsense  # type: ignore[attr-defined] # noqa: B018


# ---- targets


async def heard_from(target: Any, **settings: Any) -> Any:
    """The first message of a worker that runs this target."""
    async with Primary(target, **settings) as primary, several(primary, "message", "error") as heard:
        worker = await primary.fork()
        event = await anext(heard)
        if isinstance(event, Error):
            raise event.error
        assert event.worker is worker
        assert event.sender == worker.pid
        return event.message


SCRIPT = """
import asyncio, sys
from aiocluster import current_worker, is_worker

async def main():
    assert is_worker()
    await current_worker().send([__name__, *sys.argv])

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_an_async_function() -> None:
    assert await heard_from(hello) == ["hello"]


async def test_a_function_with_arguments() -> None:
    assert await heard_from(hello_sync, args=["a", "b"]) == ["hello", "a", "b"]


async def test_a_function_that_takes_none_finds_them_in_argv() -> None:
    assert (await heard_from(tell_settings, args=["a", "b"]))["argv"] == ["a", "b"]


async def test_a_functions_name() -> None:
    assert await heard_from(f"{__name__}:hello", args=["a"]) == ["hello", "a"]


@pytest.mark.parametrize("kind", [str, Path])
async def test_a_script(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    assert await heard_from(kind(path), args=["-x", "1"]) == ["__main__", str(path), "-x", "1"]


async def test_a_script_relative_to_cwd(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    assert (await heard_from("script.py", cwd=tmp_path))[0] == "__main__"


async def test_a_script_imports_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_script.py").write_text(SCRIPT.replace('if __name__ == "__main__":\n    ', ""))
    (tmp_path / "script.py").write_text("import neighbour_of_script")
    assert (await heard_from(tmp_path / "script.py"))[0] == "neighbour_of_script"


async def test_a_folder_with_a_main(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "__main__.py").write_text(SCRIPT)
    assert (await heard_from(folder))[0] == "__main__"


async def test_a_module(tmp_path: Path) -> None:
    (tmp_path / "module_of_test.py").write_text(SCRIPT)
    name, path, *args = await heard_from("module_of_test", cwd=tmp_path, args=["1"])
    assert (name, Path(path).name, args) == ("__main__", "module_of_test.py", ["1"])


async def test_a_package(tmp_path: Path) -> None:
    package = tmp_path / "package_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SCRIPT)
    name, path = await heard_from("package_of_test", cwd=tmp_path)
    assert (name, Path(path).name) == ("__main__", "__main__.py")


MAIN = """
import asyncio, sys
from aiocluster import Primary, current_worker, is_primary

async def work():
    await current_worker().send([__name__, work.__module__, *sys.argv[1:]])

async def lead(target):
    async with Primary(target, args=["1"]) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        print((await anext(heard)).message, (await worker.wait()).code)
"""


@pytest.mark.parametrize("as_module", [False, True])
async def test_the_main_script_again(tmp_path: Path, as_module: bool) -> None:
    (tmp_path / "again.py").write_text(MAIN + "asyncio.run(lead(None) if is_primary() else work())")
    assert run_main(tmp_path, "again", as_module) == "['__main__', '__main__', '1'] 0\n"


@pytest.mark.parametrize("as_module", [False, True])
async def test_a_function_of_the_main_script(tmp_path: Path, as_module: bool) -> None:
    (tmp_path / "main_script.py").write_text(MAIN + "if __name__ == '__main__': asyncio.run(lead(work))")
    assert run_main(tmp_path, "main_script", as_module) == "['__mp_main__', '__mp_main__', '1'] 0\n"


def run_main(folder: Path, name: str, as_module: bool) -> str:
    what = ["-m", name] if as_module else [f"{name}.py"]
    command = [sys.executable, "-W", "error", *what]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=30).stdout


# ---- what is no target


class Something:
    def method(self) -> None: ...
    def __call__(self) -> None: ...


def test_what_no_worker_could_find(tmp_path: Path) -> None:
    def nested() -> None: ...

    (tmp_path / "empty_folder").mkdir()
    (tmp_path / "broken_of_test.py").write_text("def (")
    (tmp_path / "good_of_test.py").write_text("def name(): ...")
    for target, complaint in [
        (lambda: None, "lambda"),
        (nested, "nested is defined inside a function"),
        (Something(), "module-level function"),
        (Something().method, "module-level name"),
        (42, "not 42"),
        ("missing.py", "no script missing.py"),
        (Path("missing"), "no script missing"),
        (tmp_path / "empty_folder", "without a __main__.py"),
        ("no_such_module_of_test", "no module 'no_such_module_of_test'"),
        ("no_such_module_of_test:name", "no module 'no_such_module_of_test'"),
        ("good_of_test.no_such", "no module 'good_of_test.no_such'"),
        ("good_of_test:other", "defines no 'other'"),
        ("good_of_test:", "must be a name"),
        ("good_of_test:not a name", "must be a name"),
        ("broken_of_test:name", "can't be imported"),
        ("not a module", "neither a module's name nor a script's path"),
        ("", "neither a module's name nor a script's path"),
        ("email", "package without a __main__"),
    ]:
        with pytest.raises(TargetError, match=re.escape(complaint)):
            Primary(target, cwd=tmp_path)  # type: ignore[arg-type]


async def test_a_target_that_has_gone_since(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    async with Primary(script) as primary:
        script.unlink()
        with pytest.raises(TargetError):
            await primary.fork()
        assert not primary.workers


# ---- settings


async def test_env_args_exec_args_and_cwd(tmp_path: Path) -> None:
    told = await heard_from(
        tell_settings,
        env={"MARK": "settings"},
        args=["--option", "value"],
        exec_args=["-X", "dev", "-O"],
        cwd=tmp_path,
        loop="asyncio",
    )
    assert told == {
        "MARK": "settings",
        "OWN": None,
        "cwd": str(tmp_path),
        "argv": ["--option", "value"],
        "dev_mode": True,
        "optimize": 1,
        "loop": "asyncio",
    }


@pytest.mark.parametrize(("loop", "module"), [("asyncio", "asyncio"), ("uvloop", "uvloop"), ("auto", "uvloop")])
async def test_loop(loop: str, module: str) -> None:
    assert (await heard_from(tell_settings, loop=loop))["loop"] == module


async def test_env_of_one_worker() -> None:
    async with Primary(tell_settings, env={"MARK": "all"}) as primary, primary.events("message") as heard:
        own = await primary.fork({"OWN": "1", "MARK": "one"})
        message = (await anext(heard)).message
        assert (message["MARK"], message["OWN"]) == ("one", "1")
        assert own.env == {"OWN": "1", "MARK": "one"}
        other = await primary.fork()
        message = (await anext(heard)).message
        assert (message["MARK"], message["OWN"]) == ("all", None)
        assert other.env == {}


async def test_setup_is_cumulative_and_for_later_forks() -> None:
    async with Primary(hello) as primary, several(primary, "setup", "message") as heard:
        primary.setup(args=["a"])
        event: Setup = await anext(heard)
        assert event.settings is primary.settings
        assert primary.settings.args == ("a",)
        primary.setup(target=tell_settings, env={"MARK": "x"})
        await anext(heard)
        assert primary.settings.args == ("a",)
        await primary.fork()
        message = (await anext(heard)).message
        assert (message["argv"], message["MARK"]) == (["a"], "x")
        with pytest.raises(TargetError):
            primary.setup(target="missing.py")
        with pytest.raises(TypeError, match="Primary has no setting 'agrs'; did you mean 'args'"):
            primary.setup(agrs=[])  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="scheduling"):
            primary.setup(scheduling="nonsense")
        assert primary.settings.target is tell_settings


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"scheduling": "nonsense"}, ValueError),
        ({"scheduling": ["nonsense"]}, ValueError),
        ({"loop": "trio"}, ValueError),
        ({"start_method": "threads"}, ValueError),
        ({"uid": -1}, ValueError),
        ({"gid": "root"}, TypeError),
        ({"args": "abc"}, TypeError),
        ({"args": 5}, TypeError),
        ({"exec_args": "-O"}, TypeError),
        ({"env": ["A=1"]}, TypeError),
        ({"nonsense": 1}, TypeError),
    ],
)
def test_settings_out_of_range_are_named(setting: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(setting))):
        Primary(nothing, **setting)


# ---- events


async def test_events_come_in_their_order() -> None:
    primary = Primary(talk)
    heard: list[Event] = []
    for name in ("fork", "online", "listening", "message", "disconnect", "exit"):
        primary.on(name, heard.append)
    async with primary:
        worker = await primary.fork()
        assert heard == []  # a handler added now would hear everything
        assert worker.state == "starting"
        listening: Listening = await primary.wait_for("listening", timeout=30)
        assert worker.state == "listening"
        await worker.disconnect()
        kinds = [type(event) for event in heard]
        assert kinds[0:2] == [Fork, Online]
        assert set(kinds[2:4]) == {Message, Listening}
        assert set(kinds[4:]) == {Disconnect, Exit}
        assert len(kinds) == 6
        assert all(getattr(event, "worker", None) is worker for event in heard)
        exit = next(event for event in heard if isinstance(event, Exit))
        assert (exit.code, exit.signal) == (0, None)
        assert listening.address.host == "127.0.0.1"
        assert worker.state == "dead"
        assert not primary.workers


async def test_a_handler_added_after_fork_hears_everything() -> None:
    async with Primary(hello) as primary:
        heard: list[str] = []
        worker = await primary.fork()
        for name in ("fork", "online", "message", "disconnect", "exit"):
            worker.on(name, lambda event: heard.append(event.name))
        await worker.wait_gone()
        assert heard[:3] == ["fork", "online", "message"]
        assert sorted(heard[3:]) == ["disconnect", "exit"]


async def test_a_workers_events_are_its_own() -> None:
    async with Primary(hello) as primary:
        heard: list[Any] = []
        first, second = [await primary.fork() for _ in range(2)]
        first.on("message", lambda event: heard.append(event.worker))
        await first.wait_gone()
        await second.wait_gone()
        assert heard == [first]


async def test_a_handler_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with Primary(hello) as primary:
        errors: list[Error] = []
        messages: list[Any] = []

        def fail(event: Event) -> None:
            raise ZeroDivisionError("sync")

        async def fail_later(event: Event) -> None:
            raise ZeroDivisionError("async")

        primary.on("message", fail)
        primary.on("message", fail_later)
        primary.on("message", messages.append)
        primary.on("error", errors.append)
        worker = await primary.fork()
        await worker.wait_gone()
        while len(errors) < 2:
            await asyncio.sleep(0)
        assert [str(event.error) for event in errors] == ["sync", "async"]
        assert len(messages) == 1
        assert "of event 'message' raised" in caplog.text


async def test_off_and_unknown_events() -> None:
    async with Primary(hello) as primary:
        heard: list[Any] = []

        @primary.on("message")
        def hear(event: Message) -> None:
            heard.append(event)

        primary.off("message", hear)
        worker = await primary.fork()
        await worker.wait_gone()
        assert heard == []
        unknown: Any = "mesage"
        for call in (primary.on, primary.events):
            with pytest.raises(ValueError, match=r"^there is no event 'mesage'; did you mean 'message'\?$"):
                call(unknown)
        with pytest.raises(TimeoutError):
            await primary.wait_for("message", timeout=0)


async def test_an_uncaught_exception_is_an_error_event() -> None:
    async with Primary(f"{__name__}:fail_with_unicode") as primary, primary.events("error") as heard:
        worker = await primary.fork()
        event: Error = await anext(heard)
        assert event.worker is worker
        assert isinstance(event.error, RemoteError)
        assert event.error.type_name == "builtins.LookupError"
        assert event.error.text == "no café"
        assert "in fail_with_unicode" in event.error.remote_traceback
        assert (await worker.wait()).code == 1
        assert worker.exited_after_disconnect is False


async def fail_with_unicode() -> None:
    raise LookupError("no café")


# ---- forking


async def test_fork_needs_an_entered_primary() -> None:
    primary = Primary(nothing)
    with pytest.raises(ClusterError, match="async with"):
        await primary.fork()
    async with primary:
        with pytest.raises(ClusterError, match="entered already"):
            await primary.__aenter__()
        with pytest.raises(ValueError, match="weight"):
            await primary.fork(weight=0)
    with pytest.raises(ClusterError, match="async with"):
        await primary.fork()


async def test_leaving_ends_every_worker() -> None:
    async with Primary(answer_requests) as primary:
        workers = [await primary.fork() for _ in range(3)]
        assert [worker.id for worker in workers] == [1, 2, 3]
        assert primary.workers == {worker.id: worker for worker in workers}
    assert all(worker.is_dead() and not worker.is_connected() for worker in workers)
    assert not primary.workers


async def test_an_exception_inside_ends_every_worker_too() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Primary(answer_requests) as primary:
            worker = await primary.fork()
            raise ZeroDivisionError
    assert worker.is_dead()


def test_an_interpreter_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="executable: there is no program '/no/such/python'"):
        Primary(nothing, executable="/no/such/python")


async def test_an_interpreter_that_is_gone(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.symlink_to(sys.executable)
    async with Primary(nothing, executable=interpreter) as primary:
        interpreter.unlink()
        with pytest.raises(FileNotFoundError):
            await primary.fork()
        assert not primary.workers


async def test_worker_by_pid() -> None:
    async with Primary(answer_requests) as primary:
        worker = await primary.fork()
        assert primary.worker(worker.pid) is worker
        with pytest.raises(WorkerNotFoundError, match="no worker has pid 1"):
            primary.worker(1)
        with pytest.raises(WorkerNotFoundError):
            await primary.send(1, "nobody")


async def test_disconnect_sees_all_of_them_off() -> None:
    async with Primary(talk) as primary:
        workers = [await primary.fork() for _ in range(3)]
        await primary.disconnect()
        assert not primary.workers
        assert all(worker.exited_after_disconnect for worker in workers)


# ---- messages


async def test_messages_both_ways_in_order() -> None:
    async with Primary(repeat) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        for number in range(500):
            await primary.send(worker.pid, {"number": number, "data": b"x" * number})
        for number in range(500):
            assert (await anext(heard)).message == {"number": number, "data": b"x" * number}


async def test_broadcast_reaches_all() -> None:
    async with Primary(repeat) as primary, primary.events("message") as heard:
        workers = [await primary.fork() for _ in range(3)]
        await primary.broadcast("to all")
        events: list[Message] = [await anext(heard) for _ in range(3)]
        assert {event.sender for event in events} == {worker.pid for worker in workers}
        assert {event.message for event in events} == {"to all"}


async def test_requests_both_ways() -> None:
    async with Primary(answer_requests) as primary, primary.events("message") as heard:
        asked: list[int] = []

        def who(message: Any, sender: int) -> str:
            asked.append(sender)
            return f"the primary, {message}"

        primary.handle_requests(who)
        worker = await primary.fork()
        await anext(heard)
        assert await worker.request("x") == [worker.id, "x"]
        assert await worker.request("ask back") == ["the primary, who?"] * 2
        assert asked == [worker.pid] * 2
        with pytest.raises(RemoteError, match="ZeroDivisionError: as asked"):
            await worker.request("fail")
        with pytest.raises(TimeoutError, match="did not reply within"):
            await worker.request("wait", timeout=0.01)
        assert await worker.request("y") == [worker.id, "y"]


async def test_worker_to_worker() -> None:
    async with Primary(pass_to_peers) as primary, primary.events("message") as heard:
        workers = [await primary.fork() for _ in range(3)]
        for _ in workers:
            assert (await anext(heard)).message == "ready"
        await workers[0].send("pass it on")
        events: list[Message] = [await anext(heard) for _ in range(2)]
        assert {event.sender for event in events} == {workers[1].pid, workers[2].pid}
        assert all(event.message == [workers[0].pid, "pass it on"] for event in events)


# ---- ports


async def test_listen_opens_a_port_before_any_worker_asks() -> None:
    async with Primary(EXAMPLES / "asyncio_app.py") as primary:
        address = await primary.listen("127.0.0.1", 0)
        assert address.family == "tcp4"
        primary.setup(env={"PORT": str(address.port)})
        asked = asyncio.ensure_future(ask(address))  # waits in the backlog until somebody serves
        first = await primary.fork()
        assert await asked == first.pid
        second = await primary.fork()
        await second.wait_for("listening")
        assert sorted([await ask(address), await ask(address)]) == sorted([first.pid, second.pid])


async def test_listen_on_port_0_again_is_another_port() -> None:
    """In the order in which a worker gets them that asks twice."""
    async with Primary("tests.connections.inside:serve_two_ports", args=["round_robin", "round_robin"]) as primary:
        opened = [await primary.listen("127.0.0.1", 0) for _ in range(2)]
        assert opened[0].port != opened[1].port
        async with primary.events("listening") as heard:
            await primary.fork()
            assert [(await anext(heard)).address for _ in range(2)] == opened


async def test_listen_complains_at_once(tmp_path: Path) -> None:
    async with Primary(nothing) as primary:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            with pytest.raises(OSError) as caught:
                await primary.listen("127.0.0.1", other.getsockname()[1])
            assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(ValueError, match="path"):
            await primary.listen("127.0.0.1", path=str(tmp_path / "socket"))
        with pytest.raises(ValueError, match="scheduling"):
            await primary.listen("127.0.0.1", scheduling="nonsense")


async def test_listen_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with Primary(nothing) as primary:
        assert await primary.listen(path=str(path)) == Address("unix", path=str(path))
        assert path.exists()
    assert not path.exists()
