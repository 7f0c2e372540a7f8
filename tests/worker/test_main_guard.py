"""Clusters never nest by accident, and a worker that means it may have one."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.programs import environment

GUARD = 'if __name__ == "__main__":'

PREAMBLE = """
    import asyncio, os, sys
    from aiocluster import Cluster, Primary, child_process, current_worker, is_primary
    with open("log", "a") as log: log.write(os.environ.setdefault("DEPTH", "0"))
    depth = os.environ["DEPTH"] = str(int(os.environ["DEPTH"]) + 1)
    if depth > "4": sys.exit("too deep")
    async def serve(): await asyncio.Event().wait()
"""


def run(folder: Path, program: str, *command: str) -> tuple[int, str, str]:
    """Runs the program. Returns its exit code, what it wrote, and the depth of each process that has run its code."""
    (folder / "app.py").write_text(textwrap.dedent(PREAMBLE) + textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, "-W", "error", *(command or ["app.py"])],
        cwd=folder,
        env={**environment(), "TERM": "dumb"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=40,
    )
    return done.returncode, done.stdout, (folder / "log").read_text()


UNGUARDED = """
    async def main():
        async with {cluster}({target}, {settings}) as cluster:
            await (cluster.serve_forever() if isinstance(cluster, Cluster) else (await cluster.fork()).wait())
            if not isinstance(cluster, Cluster): sys.exit(1)
    asyncio.run(main())
"""


@pytest.mark.parametrize("target", ["serve", "'app:serve'", "None", "'app.py'"])
@pytest.mark.parametrize(
    ("cluster", "settings"),
    [
        ("Cluster", "workers=2"),
        ("Cluster", "workers=1, start_method='template'"),
        ("Primary", ""),
    ],
)
def test_a_script_without_its_guard(tmp_path: Path, target: str, cluster: str, settings: str) -> None:
    code, told, depths = run(tmp_path, UNGUARDED.format(cluster=cluster, target=target, settings=settings))
    assert code == 1, told
    assert GUARD in told
    assert set(depths) <= {"0", "1"}, "a worker has started workers"


@pytest.mark.parametrize("argument", ["app.py", "app", "app:serve"])
@pytest.mark.parametrize("target", ["serve", "'app:serve'", "None", "'app.py'"])
def test_the_command_with_a_script_that_starts_a_cluster(tmp_path: Path, argument: str, target: str) -> None:
    program = UNGUARDED.format(cluster="Cluster", target=target, settings="workers=1")
    code, told, depths = run(tmp_path, program, "-m", "aiocluster", "run", "-w", "1", argument)
    assert code == 1, told
    assert GUARD in told
    assert set(depths) <= {"0", "1"}, "a worker of a worker has started workers"


def test_the_command_with_a_script_that_has_its_guard(tmp_path: Path) -> None:
    program = """
        async def main():
            async with Cluster(serve, workers=1):
                pass
        if __name__ == "__main__": asyncio.run(main())
    """
    code, told, depths = run(tmp_path, program, "-m", "aiocluster", "run", "-w", "1", "app.py")
    assert code == 1, told
    assert GUARD in told
    assert set(depths) == {"0"}


def test_a_worker_that_means_it_may_have_a_cluster(tmp_path: Path) -> None:
    program = """
        async def inner(): await current_worker().send("from inside")
        async def outer():
            cluster = Cluster(inner, workers=1, restart=False)
            async with cluster.events("message") as heard, cluster:
                await current_worker().send((await anext(heard)).message)
                await current_worker().disconnect()
        async def main():
            cluster = Cluster(outer, workers=1)
            async with cluster.events("message") as heard, cluster:
                print((await anext(heard)).message)
        if __name__ == "__main__": asyncio.run(main())
    """
    assert run(tmp_path, program) == (0, "from inside\n", "012")


def test_a_child_of_a_worker_is_no_worker(tmp_path: Path) -> None:
    program = """
        async def outer():
            os.environ["INSIDE"] = "1"
            child = await child_process.fork("app.py")
            await child.wait()
            await serve()
        async def main():
            if "INSIDE" in os.environ:
                async with Primary(outer):
                    open("inside", "w").close()
                return
            async with Cluster(outer, workers=1):
                while not os.path.exists("inside"): await asyncio.sleep(0.01)
        if __name__ == "__main__": asyncio.run(main())
    """
    code, told, _ = run(tmp_path, program)
    assert code == 0, told
