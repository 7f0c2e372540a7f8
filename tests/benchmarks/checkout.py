"""Which aiocluster is measured: this checkout's, or another's beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .own_process import python
from .programs import ROOT


@dataclass(frozen=True)
class Checkout:
    """Where the programs that are measured import aiocluster from. The programs themselves are this checkout's."""

    package_parent: Path | None = None
    """The folder that has the package and nothing else; None: this checkout."""

    def python(self, function: Callable[..., object], *arguments: str) -> list[str]:
        """The command that runs a module-level function of this package with this aiocluster."""
        command = python(function, *arguments)
        if self.package_parent is None:
            return command
        interpreter, *rest = command
        # -P: what is in the working directory, which is this checkout, does not come first.
        return ["env", f"PYTHONPATH={self.package_parent}:{ROOT}", interpreter, "-P", *rest]


HERE = Checkout()


@contextmanager
def another(folder: Path) -> Iterator[Checkout]:
    """Another checkout, such as a git worktree of an earlier commit.

    Raises:
        FileNotFoundError: There is no package in it.
    """
    package = (folder / "aiocluster").resolve()
    if not (package / "__init__.py").is_file():
        raise FileNotFoundError(f"{folder} is no checkout of aiocluster: it has no aiocluster/__init__.py")
    with tempfile.TemporaryDirectory(prefix="aiocluster-bench-") as parent:
        # Its own tests would hide those of this checkout.
        Path(parent, "aiocluster").symlink_to(package)
        yield Checkout(Path(parent))
