"""A log that rotates, and is read meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

from aiocluster._control.log_file import Follower, LogFile, last_lines


def test_it_rotates_between_lines_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(path, max_size=100, keep=3)
    with_follower: list[bytes] = []
    try:
        with Follower(path) as more:
            for number in range(40):
                log.write(b"line %03d\n" % number)
                with_follower += more.read()
    finally:
        log.close()
    assert b"".join(with_follower) == b"".join(b"line %03d\n" % number for number in range(40))
    files = sorted(tmp_path.iterdir())
    assert [one.name for one in files] == ["log", "log.1", "log.2", "log.3"]
    assert all(one.stat().st_size <= 108 and one.read_bytes().endswith(b"\n") for one in files)
    assert last_lines(path, 20) == [b"line %03d\n" % number for number in range(20, 40)]
    assert last_lines(path, 0) == []


def test_what_is_lost_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(path, max_size=1000, keep=1)
    log.write(b"before\n")
    spare = os.dup(log._fd)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._fd)
    os.close(full)
    log.write(b"lost\n")
    log.write(b"lost, too\n")
    os.dup2(spare, log._fd)
    os.close(spare)
    log.write(b"after\n")
    log.close()
    lines = path.read_text().splitlines()
    assert lines == ["before", "--- 15 bytes have been lost: No space left on device", "after"]


def test_what_is_written_later_is_not_among_the_last_lines(tmp_path: Path) -> None:
    """Each line is shown once, whether the log is rotated in between or not."""
    path = tmp_path / "log"
    log = LogFile(path, max_size=30, keep=3)
    written: list[bytes] = []
    for number in range(12):
        with Follower(path) as more:
            written.append(b"line %03d\n" % number)
            log.write(written[-1])
            assert more.last_lines(3) == written[-4:-1]
            assert b"".join(more.read()) == written[-1]
    log.close()
