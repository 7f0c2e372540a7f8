"""What a cluster in the background does for its keeper."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiocluster._control.kept import Kept, keeping
from aiocluster._control.memory import Memory
from aiocluster._processes.environment import KEPT_IN


@pytest.mark.parametrize(("left_with", "code"), [(0, 0), (3, 3), (None, 0), ("a reason", 1)])
def test_without_a_keeper_it_remembers_its_end_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_with: object, code: int
) -> None:
    memory = Memory(tmp_path)
    monkeypatch.setenv(KEPT_IN, str(tmp_path))
    with memory.held("keeper"), keeping():
        pass
    assert memory.exit is None
    monkeypatch.setenv(KEPT_IN, str(tmp_path))
    with pytest.raises(SystemExit), keeping():
        raise SystemExit(left_with)
    assert memory.exit is not None
    assert (memory.exit["code"], memory.exit["signal"]) == (code, None)


def test_in_the_foreground_there_is_nothing_to_mend() -> None:
    assert not Kept(None).mend()
