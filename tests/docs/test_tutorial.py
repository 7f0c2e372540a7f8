"""The tutorial's chat in a real browser: what one window says, the other shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.site import BROWSER, browser
from tests.docs.snippets import titled
from tests.support.programs import environment

pytestmark = pytest.mark.timeout(120)


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
async def test_two_windows(tmp_path: Path) -> None:
    for name in ("chat.py", "index.html"):
        (tmp_path / name).write_text(titled("tutorial/chat.md", name))
    command = [sys.executable, "-m", "aiocluster", "run", "chat:app", "--workers", "2", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            url = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
            async with browser() as own:
                windows = [await own.new_page() for _ in range(2)]
                for window in windows:
                    await window.goto(url)
                    await window.get_by_text("welcome to slot").wait_for()
                await windows[0].get_by_placeholder("Say something").fill("good morning")
                await windows[0].keyboard.press("Enter")
                for window in windows:
                    await window.get_by_text("good morning (said to slot").wait_for()
        finally:
            process.terminate()
            process.communicate()
