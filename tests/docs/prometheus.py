"""A real Prometheus that scrapes a cluster's page, with the configuration from the documentation."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs.snippets import titled
from tests.support.programs import listening_address

PROGRAM = shutil.which("prometheus")


@dataclass(frozen=True)
class Series:
    """One line of an answer.

    Attributes:
        labels: Its labels, the name among them if it has one.
        values: Its values by time.
    """

    labels: dict[str, str]
    values: dict[float, float]

    @property
    def last(self) -> float:
        return self.values[max(self.values)]


class Prometheus:
    """A running one.

    Args:
        url: Where it answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def wait_until_ready(self) -> None:
        """Returns once it answers queries: it listens before that."""
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/-/ready").close()
                return
            except urllib.error.HTTPError as error:  # 503
                error.close()
                time.sleep(0.02)

    def ask(self, query: str, at: float) -> list[Series]:
        """What a query gives at that time, in seconds since 1970: one value of each series, or all in its range.

        Raises:
            AssertionError: Prometheus does not understand it.
        """
        found = self._get("query", query=query, time=f"{at:.3f}")["result"]
        return [Series(one["metric"], _values(one.get("values") or [one["value"]])) for one in found]

    def ask_range(self, query: str, begin: float, end: float, step: float) -> list[Series]:
        """What a query gave between two times, every ``step`` seconds.

        Raises:
            AssertionError: Prometheus does not understand it.
        """
        found = self._get("query_range", query=query, start=f"{begin:.3f}", end=f"{end:.3f}", step=f"{step:g}")
        return [Series(one["metric"], _values(one["values"])) for one in found["result"]]

    def label_values(self, query: str, label: str) -> set[str]:
        """The values that a label has in these series."""
        return set(self._get(f"label/{label}/values", **{"match[]": query}))

    def _get(self, path: str, **parameters: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}") as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {json.load(error)['error']}") from None


def _values(pairs: list[list[Any]]) -> dict[float, float]:
    return {float(at): float(value) for at, value in pairs}


@contextmanager
def prometheus(folder: Path, target: str, *changes: tuple[str, str]) -> Iterator[Prometheus]:
    """Runs one with the configuration of the page on metrics.

    Args:
        folder: Where it keeps its files.
        target: What it scrapes: HOST:PORT.
        changes: What is replaced in the configuration, besides the target.

    Raises:
        AssertionError: It has warned of something, such as series that are there twice.
    """
    assert PROGRAM is not None
    text = titled("how-to/metrics.md", "prometheus.yml")
    for old, new in [("127.0.0.1:9100", target), *changes]:
        assert old in text
        text = text.replace(old, new)
    configuration = folder / "prometheus.yml"
    configuration.write_text(text)
    command = [PROGRAM, f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}"]
    command += ["--web.listen-address=127.0.0.1:0", "--log.level=warn"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = listening_address(process.pid)
            server = Prometheus(f"http://127.0.0.1:{address.port}")
            server.wait_until_ready()
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            warnings = [line for line in process.stderr.read().splitlines() if "Received SIGTERM" not in line]
            process.wait(20)
    assert not warnings, warnings
