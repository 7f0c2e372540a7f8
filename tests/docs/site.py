"""The documentation's site, built and served, in a real browser."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.async_api import Browser, Page, TimeoutError, async_playwright

from tests.docs.snippets import ROOT

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_SEARCH = "[...document.querySelectorAll('*')].find(one => one.shadowRoot)?.shadowRoot"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def build(folder: Path) -> Path:
    """Builds the site in an empty folder. Returns where it is."""
    shutil.copy(ROOT / "zensical.toml", folder)
    for name in ("aiocluster", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return folder / "site"


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serves the site. Yields its URL, with a slash at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Starts one without a window."""
    async with async_playwright() as playwright:
        own = await playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        try:
            yield own
        finally:
            await own.close()


class Search:
    """The site's own search, as one types into it.

    Args:
        page: A page of the browser.
        url: The site's.
    """

    def __init__(self, page: Page, url: str) -> None:
        self._page, self._url = page, url

    async def open(self) -> None:
        await self._page.goto(self._url)
        await self._page.click(".md-search__button")
        await self._page.wait_for_function(f"{_SEARCH}?.querySelector('input')")

    async def pages(self, words: str) -> list[str]:
        """Types these words. Returns the pages of the results, such as ``how-to/state/``, the best first, each once."""
        page = self._page
        await page.evaluate(f"{_SEARCH}.querySelector('input').select()")
        await page.keyboard.press("Backspace")
        await page.wait_for_function(f"{_SEARCH}.querySelectorAll('a[href]').length === 0")
        await page.keyboard.insert_text(words)
        try:
            await page.wait_for_function(f"{_SEARCH}.querySelectorAll('a[href]').length > 0", timeout=10_000)
        except TimeoutError:
            return []
        before: list[str] = []
        while before != (found := await self._results()):  # they come as they are found
            before = found
            await page.wait_for_timeout(150)
        return list(dict.fromkeys(found))

    async def _results(self) -> list[str]:
        links: list[str] = await self._page.evaluate(f"[...{_SEARCH}.querySelectorAll('a[href]')].map(one => one.href)")
        return [link.removeprefix(self._url).partition("#")[0].partition("?")[0] for link in links]
