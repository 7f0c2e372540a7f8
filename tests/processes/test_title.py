"""Process titles without setproctitle: written over the arguments."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aiocluster._wire.frames import AsgiTarget, FunctionTarget, MainTarget, ModuleTarget, ScriptTarget, TargetName
from aiocluster._wire.titles import named_after, title_of

PROGRAM = """
import sys
sys.modules["setproctitle"] = None
from aiocluster._processes.title import set_title
set_title("shop", "worker 2", "shop.web:app")
print(open("/proc/self/cmdline").read())
print(open("/proc/self/comm").read())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell where the arguments are")
@pytest.mark.parametrize(("more", "title"), [([], "aiocluster shop: worker 2 (shop.web:app)"), (None, "aiocluster")])
def test_it_is_written_over_the_arguments_as_far_as_they_reach(more: list[str] | None, title: str) -> None:
    command = [sys.executable, "-c", PROGRAM] if more is not None else [sys.executable, "-"]
    done = subprocess.run(command, input=PROGRAM, capture_output=True, text=True, timeout=30, check=True)
    shown, name = done.stdout.splitlines()[0], done.stdout.splitlines()[1]
    assert len(shown.encode()) == sum(len(argument) + 1 for argument in command)
    assert shown.rstrip("\0").startswith(title)
    assert name == "aiocluster shop"


@pytest.mark.parametrize(
    ("target", "title", "name"),
    [
        (FunctionTarget("shop.web", "app"), "shop.web:app", "shop.web"),
        (AsgiTarget(FunctionTarget("shop.web", "app"), False, [], {}), "shop.web:app", "shop.web"),
        (ScriptTarget("/srv/shop/app.py"), "app.py", "app"),
        (ModuleTarget("shop"), "shop", "shop"),
        (MainTarget(path="/srv/shop/main.py"), "main.py", "main"),
        (MainTarget(module="shop"), "shop", "shop"),
        (FunctionTarget("__mp_main__", "serve", MainTarget(path="/srv/main.py")), "main.py:serve", "main"),
    ],
)
def test_what_targets_and_clusters_are_called(target: TargetName, title: str, name: str) -> None:
    assert title_of(target) == title
    assert named_after(target) == name
