"""The page on testing: the pytest plugin runs real clusters, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.docs.snippets import blocks
from tests.support.programs import environment

PAGE = "how-to/testing.md"
PYTEST = ["-m", "pytest", "-p", "aiocluster.pytest_plugin", "-p", "no:cacheprovider", "-W", "error", "-rA"]
PYTEST += ["-o", "asyncio_default_fixture_loop_scope=function"]
STRANGE = """
import os

import pytest

from aiocluster import TargetError
from aiocluster.integrations.asgi import AsgiApp


def test_the_report_has_the_output(cluster):
    import httpx

    with cluster("shop:app", workers=1) as c:
        httpx.get(f"{c.url}/apples")
        assert c.output == "nothing"


def test_what_is_left_running_is_stopped(cluster):
    running = cluster("shop:app", workers=1, name="left").__enter__()
    print("left", running.pid, *[worker.pid for worker in running.workers])


def test_a_start_that_fails_says_why(cluster):
    with pytest.raises(TargetError, match="there is no module 'shopp'"):
        with cluster("shopp:app", workers=1):
            pass


def test_nonsense_is_told_at_once(cluster):
    with pytest.raises(TypeError, match="can't be found by the cluster's own process: give a function of a module"):
        cluster(lambda: None)
    with pytest.raises(TypeError, match="^scheduling="):
        cluster("shop:app", scheduling=object())


async def test_with_pytest_asyncio_and_https(cluster):
    options = {"ssl_certfile": os.environ["CERTIFICATE"], "ssl_keyfile": os.environ["CERTIFICATE"]}
    async with cluster(AsgiApp("shop:app", bind=["127.0.0.1:0"], uvicorn=options), workers=1) as c:
        assert c.url.startswith("https://127.0.0.1:")
        await c.stop()
"""


def write(folder: Path) -> None:
    """The files of the page."""
    for block in blocks(PAGE):
        if block.language == "console":
            continue
        assert block.title, block.text
        (folder / block.title).write_text(block.text)


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment(), "NO_COLOR": "1", **env},
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.mark.timeout(120)
def test_the_programs_of_the_page_pass(tmp_path: Path) -> None:
    write(tmp_path)
    done = run(tmp_path, "-m", "coverage", "run", *PYTEST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^=+ 5 passed in ", done.stdout, re.MULTILINE), done.stdout
    run(tmp_path, "-m", "coverage", "combine")
    report = run(tmp_path, "-m", "coverage", "report", "-m", "--include=shop.py")
    # What only workers have run. The line of the crash is there, too: os._exit saves what was measured.
    assert re.search(r"^shop\.py +\d+ +0 +100%", report.stdout, re.MULTILINE), report.stdout


@pytest.mark.timeout(120)
def test_failures_are_told_and_nothing_is_left(tmp_path: Path) -> None:
    import trustme

    write(tmp_path)
    certificate = trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    certificate.write_to_path(tmp_path / "pem")
    (tmp_path / "test_strange.py").write_text(STRANGE)
    asyncio_mode = ("-o", "asyncio_mode=auto", "test_strange.py")
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    env = {"CERTIFICATE": str(tmp_path / "pem"), "XDG_RUNTIME_DIR": str(runtime)}
    done = run(tmp_path, *PYTEST, *asyncio_mode, **env)
    assert done.returncode == 1
    assert re.search(r"^=+ 1 failed, 4 passed in ", done.stdout, re.MULTILINE), done.stdout + done.stderr
    failed = done.stdout.partition("= FAILURES =")[2]
    assert re.search(r"-+ Cluster shop:app -+\n(?:.*\n)*asked for /apples\n", failed), failed
    (left,) = re.findall(r"^left (.*)$", done.stdout, re.MULTILINE)
    assert len(left.split()) == 2
    assert not [path for path in runtime.rglob("*") if not path.is_dir()]
    assert not any(psutil.pid_exists(int(pid)) for pid in left.split())


@pytest.mark.timeout(120)
def test_a_test_run_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "test_killed.py").write_text(
        "import time\n\n\ndef test(cluster):\n"
        "    with cluster('shop:app', workers=1) as c:\n"
        "        print(c.pid, c.workers[0].pid, flush=True)\n        time.sleep(3600)\n"
    )
    command = [sys.executable, *PYTEST, "-s", "-q", "--no-header", "test_killed.py"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout as stdout:
        try:
            pids = [int(word) for word in stdout.readline().split()]
            processes = [psutil.Process(pid) for pid in pids]
        finally:
            os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert (len(processes), alive) == (2, [])
