"""The site in a real browser: its search finds what people ask, and nothing is wider than the window."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.site import BROWSER, Search, browser, build, served
from tests.docs.snippets import DOCS

pytestmark = pytest.mark.timeout(300)

# What users of uvicorn, gunicorn, pm2 and Node ask most, and the page with the answer.
QUESTIONS = {
    "broadcast": "how-to/messages/",
    "share a variable": "how-to/state/",
    "startup once": "how-to/run_once/",
    "scheduler": "how-to/run_once/",
    "uneven load": "explanation/how_it_works/",
    "SO_REUSEPORT": "explanation/how_it_works/",
    "how many workers": "how-to/how_many_workers/",
    "one or many per pod": "how-to/kubernetes/",
    "Child process died": "troubleshooting/",
    "worker timeout": "how-to/memory/",
    "out of memory": "how-to/memory/",
    "stop hangs": "how-to/reload/",
    "SSE": "how-to/reload/",
    "reload without dropped": "how-to/reload/",
    "WebSockets over a deploy": "how-to/websockets/",
    "502 pod": "how-to/kubernetes/",
    "502 keep-alive": "how-to/nginx/",
    "--reload with workers": "how-to/development/",
    "import string": "how-to/fastapi/",
    "log rotation": "how-to/logging/",
    "Prometheus": "how-to/metrics/",
    "OpenTelemetry": "how-to/opentelemetry/",
    "model loaded": "how-to/memory/",
    "database connections": "how-to/database/",
    "which worker am I": "how-to/fastapi/",
    "GPU": "how-to/devices/",
    "max requests": "how-to/memory/",
    "Unix socket permissions": "how-to/unix_sockets/",
    "IPv6": "how-to/fastapi/",
    "new certificate": "how-to/tls/",
    "session unknown": "how-to/socketio/",
    "sticky sessions": "how-to/socketio/",
    "environment after a reload": "how-to/reload/",
    "environment after reboot": "how-to/background/",
    "environment in Docker": "how-to/containers/",
    "cron": "how-to/run_once/",
    "messages between instances": "how-to/messages/",
    "debugging": "how-to/debugging/",
    # and what a search found nothing for, once
    "fastapi": "how-to/fastapi/",
    "docker": "how-to/containers/",
    "metrics": "how-to/metrics/",
    "aiocluster run": "how-to/command/",
    "tutorial": "tutorial/",
    # the reference
    "settings": "reference/settings/",
    "configuration": "reference/settings/",
    "environment variable": "reference/settings/",
    "AIOCLUSTER_MAX_MEMORY": "reference/settings/",
    "exit code": "reference/errors/",
    "StartupError": "reference/errors/",
    "RemoteError": "reference/errors/",
    "aiocluster_loop_busy_ratio": "reference/metrics/",
    "example": "examples/",
    "glossary": "reference/glossary/",
    "getting started": "tutorial/",
    "quick start": "",
    "install": "tutorial/serve/",
    "chat": "tutorial/chat/",
}
MAIN = (
    "",
    "tutorial/",
    "tutorial/serve/",
    "how-to/",
    "how-to/fastapi/",
    "how-to/messages/",
    "explanation/how_it_works/",
    "explanation/performance/",
    "reference/settings/",
    "moving/node/",
    "moving/uvicorn/",
    "faq/",
    "troubleshooting/",
    "examples/",
)
# What sticks out of the page, and on the front page also tables and code that can only be read by scrolling sideways.
WIDER = """() => [
    ...(document.documentElement.scrollWidth > window.innerWidth ? ["the page"] : []),
    ...[...document.querySelectorAll("article img, article svg")]
        .filter(one => one.getBoundingClientRect().right > window.innerWidth).map(one => one.src || "an svg"),
    ...[...document.querySelectorAll("article table")]
        .filter(one => one.scrollWidth > one.parentElement.clientWidth + 1 && CODE_TOO)
        .map(one => "the table " + one.innerText.slice(0, 40)),
    ...[...document.querySelectorAll("article pre > code")]
        .filter(one => one.scrollWidth > one.clientWidth + 1 && CODE_TOO)
        .map(one => "the code " + one.innerText.slice(0, 40)),
]"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_spec("zensical") is None:
        pytest.skip("zensical is not installed: it is in the dependency group docs")
    with served(build(tmp_path_factory.mktemp("site"))) as found:
        yield found


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
async def test_search_finds_what_people_ask(url: str) -> None:
    async with browser() as own:
        search = Search(await own.new_page(), url)
        await search.open()
        found = {words: (await search.pages(words))[:8] for words in QUESTIONS}
    assert {words: pages for words, pages in found.items() if QUESTIONS[words] not in pages} == {}


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
async def test_nothing_is_wider_than_the_window(width: int, url: str) -> None:
    found = {}
    async with browser() as own:
        page = await own.new_page(viewport={"width": width, "height": 900})
        for path in MAIN:
            await page.goto(url + path)
            found[path] = await page.evaluate(WIDER.replace("CODE_TOO", "true" if path == "" else "false"))
    assert {path: wider for path, wider in found.items() if wider} == {}


def test_every_page_is_reached() -> None:
    """Each file of the folder is a page of the navigation, or is listed in an index."""
    listed = (DOCS.parent / "zensical.toml").read_text()
    index = (DOCS / "examples" / "index.md").read_text()
    for path in DOCS.rglob("*.md"):
        name = str(path.relative_to(DOCS))
        assert f'"{name}"' in listed or (path.parent.name == "examples" and f"({path.name})" in index), name


def test_nothing_is_left_to_write() -> None:
    left = [str(path.relative_to(DOCS)) for path in Path(DOCS).rglob("*.md") if "TO BE WRITTEN" in path.read_text()]
    assert left == []
