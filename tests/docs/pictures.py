"""The pictures of the docs, drawn by the programs themselves: ``python -m tests.docs.pictures``.

What `run` and `list` print is taken from a terminal, what `top` shows from textual.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import io
import os
import re
import shlex
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from aiocluster._cli.monitor.app import Top
from tests.docs.snippets import ROOT
from tests.support.background import Place, place

IMAGES = ROOT / "docs" / "images"
PORT = 8000
COLUMNS = 96
APP = """\
import asyncio


async def app(scope, receive, send):
    if scope["type"] == "http":
        await asyncio.sleep(0.02)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
"""
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_BLANKS = re.compile(
    r'x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<length>[\d.]+)"(?P<more>[^>]*)>(?P<text>[^<]*)<'
)
_FAMILY = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def save(name: str, svg: str) -> None:
    """Writes a picture. It asks for no font from elsewhere."""
    svg = _FONT.sub("", svg).replace("Fira Code, monospace", _FAMILY)
    svg = _BLANKS.sub(without_leading_blanks, svg)
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / f"{name}.svg").write_text(svg + "\n")
    print(f"{name}.svg: {len(svg)} bytes")


def without_leading_blanks(found: re.Match[str]) -> str:
    """Moves a text by the blanks that it begins with: some programs leave these out, browsers don't."""
    text = html.unescape(found["text"])
    rest = text.lstrip()
    width = float(found["length"]) / len(text)
    x = float(found["x"]) + width * (len(text) - len(rest))
    length = width * len(rest)
    return f'x="{x:g}" y="{found["y"]}" textLength="{length:g}"{found["more"]}>{html.escape(rest)}<'


def draw(name: str, text: str) -> None:
    """Draws what a terminal has shown."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(text.replace("\r\n", "\n").rstrip()))
    save(name, console.export_svg(title="aiocluster"))


def get() -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=20) as response:
        response.read()


@contextlib.contextmanager
def running(here: Place, *words: str) -> Iterator[Any]:
    """Runs the command in a terminal; kills it in the end, if it still runs."""
    terminal = here.in_terminal(*words, columns=COLUMNS)
    log = io.StringIO()
    terminal.logfile_read = log
    terminal.shown = lambda: prompt(words) + log.getvalue()
    try:
        yield terminal
    finally:
        terminal.close(force=True)


def prompt(words: tuple[str, ...]) -> str:
    return f"\x1b[1;32m$\x1b[0m {shlex.join(['aiocluster', *words])}\r\n"


def draw_run(here: Place) -> None:
    """A cluster comes up, loses a worker, is reloaded and stopped."""
    with running(here, "run", "shop:app", "--workers", "4", "--port", str(PORT)) as terminal:
        terminal.expect(rf"127\.0\.0\.1:{PORT}")
        for _ in range(3):
            get()
        worker = here.described("shop")["workers"][2]
        os.kill(worker["pid"], signal.SIGKILL)
        wait_until(here, lambda found: worker["pid"] not in pids(found) and all_listen(found))
        before = here.described("shop")
        terminal.kill(signal.SIGHUP)
        wait_until(here, lambda found: not set(pids(found)) & set(pids(before)) and all_listen(found))
        get()
        terminal.sendintr()
        terminal.read()
        draw("run", terminal.shown())


def wait_until(here: Place, condition: Any) -> None:
    while not condition(here.described("shop")):
        pass


def pids(found: dict[str, Any]) -> list[int]:
    return [worker["pid"] for worker in found["workers"]]


def all_listen(found: dict[str, Any]) -> bool:
    return len(found["workers"]) == 4 and {worker["state"] for worker in found["workers"]} == {"listening"}


def draw_list(here: Place) -> None:
    """Three clusters: two run, one has been stopped."""
    here.shows("stop", "mail")
    os.kill(here.described("shop")["workers"][1]["pid"], signal.SIGKILL)
    wait_until(here, all_listen)
    shown = []
    for words in (("list",), ("scale", "jobs", "+1")):
        with running(here, *words) as terminal:
            terminal.read()
            shown.append(terminal.shown())
    draw("list", "\r\n".join(shown))


async def draw_top(here: Place) -> None:
    """A cluster under load."""
    os.environ.update(here.env)
    load = [asyncio.create_task(ask_on_end()) for _ in range(12)]
    app = Top("shop", 0.5)
    async with app.run_test(size=(112, 20)) as pilot:
        while len(app._taken) < 50:
            await pilot.pause(0.1)
        save("top", app.export_screenshot(title="aiocluster top"))
    for task in load:
        task.cancel()
    await asyncio.gather(*load, return_exceptions=True)


async def ask_on_end() -> None:
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.02)


def main() -> None:
    with place() as here:
        (here.folder / "shop.py").write_text(APP)
        (here.folder / "jobs.py").write_text("import signal\nsignal.pause()\n")
        draw_run(here)
        here.shows("start", "--name", "shop", "shop:app", "--workers", "4", "--port", str(PORT), "--no-access-log")
        for name in ("jobs", "mail"):
            here.shows("start", "--wait=0", "-w", "1", "--name", name, "jobs.py")
        draw_list(here)
        asyncio.run(draw_top(here))


if __name__ == "__main__":
    main()
