"""The file with the process id: whose it is, and whether it is stale."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiocluster._cli.pid_file import PidFileError, check, written


def test_it_is_there_while_the_block_is_open(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with written(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), written(str(path)):
        raise KeyError
    assert not path.exists()


def test_another_ones_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with written(str(path)):
        path.write_text("1\n")
    assert path.read_text() == "1\n"
    with written(str(path := tmp_path / "gone")):
        path.unlink()


def test_a_process_that_runs_and_one_that_has_got_its_id(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        path.write_text(str(process.pid))
        with pytest.raises(PidFileError, match=f"has the id of process {process.pid}, which runs"):
            check(str(path))
        with pytest.raises(PidFileError), written(str(path)):
            pass
        assert path.read_text() == str(process.pid)
        before = time.time() - 3600
        os.utime(path, (before, before))  # the process has started since: another one had this id
        check(str(path))
    path.write_text(str(process.pid))
    check(str(path))  # it has ended


@pytest.mark.parametrize("text", ["", "nonsense", "0", "-1", f"{2**80}", "own"])
def test_a_stale_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text.replace("own", str(os.getpid())))
    with written(str(tmp_path / "pid")):
        assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"


def test_a_place_where_it_can_not_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^--pid-file: there is no folder "):
        check(str(tmp_path / "missing" / "pid"))
    with pytest.raises(ValueError, match=r"^--pid-file: .* is a folder"):
        check(str(tmp_path))
    with pytest.raises(PidFileError), written(str(tmp_path / "missing" / "pid")):
        pass
