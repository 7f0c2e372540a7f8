"""A pytest plugin: writes a line of JSON for each test that begins, and for each outcome, as it happens.

It is loaded by its file's name in an environment without this project's tests, so it imports nothing of ours.
"""

from __future__ import annotations

import json
import os
from typing import Any


def _write(**line: Any) -> None:
    with open(os.environ["AIOCLUSTER_DOWNSTREAM_OUT"], "a") as file:
        file.write(json.dumps(line) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    _write(test=nodeid, outcome="begun")


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome != "passed":
        text = str(report.longrepr)[-4000:] if report.outcome == "failed" else ""
        _write(test=report.nodeid, outcome=report.outcome, text=text)


def pytest_collectreport(report: Any) -> None:
    if report.outcome == "failed":
        _write(test=f"collection of {report.nodeid}", outcome="failed", text=str(report.longrepr)[-4000:])
