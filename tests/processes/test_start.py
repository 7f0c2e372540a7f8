"""What a process that is started from here gets, and what it does not get."""

from __future__ import annotations

import pytest

from aiocluster._processes.environment import CHANNEL_FD, OWN, PARENT_FD, WORKER_ID
from aiocluster._processes.start import environment


def test_what_tells_this_process_what_it_is_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OWN:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("OTHER", "inherited")
    inherited = environment(None, {})
    assert not OWN & inherited.keys()
    assert inherited["OTHER"] == "inherited"
    assert environment({"A": "1", PARENT_FD: "3:4", CHANNEL_FD: "5"}, {WORKER_ID: "6"}) == {"A": "1", WORKER_ID: "6"}
