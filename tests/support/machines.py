"""Other machines on this one: network namespaces, each with a cable (veth(4)) that can be pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Machine:
    """A network namespace, and the cable between it and this machine's own network.

    Args:
        number: Its number, which no other has at the same time.

    Attributes:
        outside: This machine's address on the cable.
        inside: Its own.
        command: What runs a program in it.
    """

    def __init__(self, number: int) -> None:
        self._name = f"aic-{os.getpid()}-{number}"
        self._cable = f"aic{os.getpid() % 100_000}v{number}"  # at most 15 characters
        network = f"10.213.{os.getpid() % 250}"
        self.outside: str = f"{network}.{4 * number + 1}"
        self.inside: str = f"{network}.{4 * number + 2}"
        self.command: list[str] = ["ip", "netns", "exec", self._name]

    def make(self) -> None:
        """Makes it; raises CalledProcessError where that is not allowed."""
        _run("ip", "netns", "add", self._name)
        _run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "net0", "netns", self._name)
        _run("ip", "addr", "add", f"{self.outside}/30", "dev", self._cable)
        _run("ip", "link", "set", self._cable, "up")
        for command in (["addr", "add", f"{self.inside}/30", "dev", "net0"], ["link", "set", "net0", "up"]):
            _run(*self.command, "ip", *command)
        _run(*self.command, "ip", "link", "set", "lo", "up")

    def pull(self) -> None:
        """Pulls the cable: what is sent is lost, and nobody is told."""
        _run(*self.command, "ip", "link", "set", "net0", "down")

    def plug_in(self) -> None:
        """Plugs it in again."""
        _run(*self.command, "ip", "link", "set", "net0", "up")

    def remove(self) -> None:
        """Removes it, as far as it has been made."""
        subprocess.run(["ip", "link", "del", self._cable], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self._name], check=False, capture_output=True)


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """Yields so many. The test is skipped where they can't be made."""
    if shutil.which("ip") is None:
        pytest.skip("there is no ip(8), with which network namespaces are made")
    made = [Machine(number) for number in range(count)]
    try:
        for machine in made:
            try:
                machine.make()
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces can't be made here: {error.stderr.decode().strip()}")
        yield made
    finally:
        for machine in made:
            machine.remove()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
