"""What is known of clusters that do not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiocluster._control.claim import Claimed
from aiocluster._control.clusters import Known
from aiocluster._control.memory import HeldError, Memory


def test_states_of_one_without_a_name(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    one = Known("shop", None, memory)
    killed = Known("shop", Claimed("shop", tmp_path / "shop.sock", False, {}), memory)
    assert one.state == "died"
    with memory.held("keeper"):
        with memory.held("starting"):
            assert one.state == "starting"
        assert (one.state, one.is_in_between) == ("stopping", True)
        assert killed.state == "died"  # one that ends takes its claim with it
        with pytest.raises(HeldError), memory.held("keeper", 0.0):
            pass
        memory.ended(3, None, "now")
        assert (one.state, one.is_kept) == ("failed", False)
    for code, signal, state in ((0, None, "stopped"), (None, "SIGKILL", "died"), (None, None, "died")):
        memory.ended(code, signal, "now")
        assert one.state == state
