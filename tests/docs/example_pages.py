"""A page for each example, and their index.

``python -m tests.docs.example_pages`` writes them, and their list in zensical.toml; with ``--check`` it says whether
they are up to date. An example's docstring is the text of its page: the first line is the title, and indented blocks
are commands with what they print, or what the example's terminal shows meanwhile.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.docs.snippets import DOCS, ROOT

PAGES = DOCS / "examples"
CONFIGURATION = ROOT / "zensical.toml"
SUBJECTS: dict[str, tuple[str, ...]] = {
    "Serve": ("hello", "demo", "uvicorn_app", "aiohttp_app", "websockets_app", "asyncio_app", "same_script"),
    "Messages, topics and calls": ("echo", "worker_to_worker", "chat", "long_computation"),
    "Shared state": ("sessions", "rate_limit", "shared_state"),
    "What runs once": ("run_once", "fleet_job"),
    "Workers: life, number, devices": (
        "life_of_a_worker",
        "smooth_restart",
        "graceful_leave",
        "give_up",
        "by_load",
        "devices",
    ),
    "Ports, sockets and descriptors": (
        "own_ports",
        "shared_socket",
        "descriptors",
        "send_connections",
        "send_server",
        "pass_the_server",
    ),
    "Child processes": ("exec_command", "spawn_streams", "spawn_ipc", "fork_messages", "json_over_stdio", "detached"),
}
"""Which examples show what: each is in one of these."""

_SOURCE = "https://github.com/aiocluster/aiocluster/blob/main/examples"
_INDEX = f"""\
# Examples

<!-- written by python -m tests.docs.example_pages -->

Each example is one complete program, which the tests run. The pages show how to run it, and what you see then. All of
them are in the folder [examples]({_SOURCE}).
"""
_FOLDERS = f"""
## Operate

These examples are folders with an app and the files around it. A how-to tells what each file does.

* [examples/deploy]({_SOURCE}/deploy): an app with [systemd](../how-to/systemd.md), [nginx](../how-to/nginx.md),
  [containers](../how-to/containers.md) and [Kubernetes](../how-to/kubernetes.md)
* [examples/metrics]({_SOURCE}/metrics): an app with [Prometheus and Grafana](../how-to/metrics.md), and
  [autoscaling](../how-to/autoscaling.md) by its numbers
* [examples/opentelemetry]({_SOURCE}/opentelemetry): an app with [OpenTelemetry](../how-to/opentelemetry.md)
"""


def docstring_of(path: Path) -> str:
    """Returns the docstring of an example."""
    found = ast.get_docstring(ast.parse(path.read_text()))
    assert found is not None, path
    return found


def pages() -> dict[Path, str]:
    """Returns all files as they should be."""
    index, navigation = [_INDEX], ['        "examples/index.md",\n']
    texts: dict[Path, str] = {}
    for subject, names in SUBJECTS.items():
        index.append(f"\n## {subject}\n\n")
        navigation.append(f'        {{ "{subject}" = [\n')
        for name in names:
            path = ROOT / "examples" / f"{name}.py"
            texts[PAGES / f"{name}.md"] = _page(path)
            index.append(f"* [{_title(path)}]({name}.md): `{path.name}`\n")
            navigation.append(f'            "examples/{name}.md",\n')
        navigation.append("        ] },\n")
    texts[PAGES / "index.md"] = "".join([*index, _FOLDERS])
    texts[CONFIGURATION] = re.sub(
        r'(?<=^    \{ "Examples" = \[\n)(?: {8}.*\n)*',
        lambda _: "".join(navigation),
        CONFIGURATION.read_text(),
        flags=re.MULTILINE,
    )
    return texts


def _title(path: Path) -> str:
    return docstring_of(path).partition("\n")[0].rstrip(".")


def _page(path: Path) -> str:
    docstring = docstring_of(path)
    _, *parts = docstring.split("\n\n")
    where_run = next(number for number, part in enumerate(parts) if part.startswith("    "))
    where_run -= parts[where_run - 1].endswith(":")
    stays = "until Ctrl-C" in docstring
    return "\n\n".join(
        [
            f"# {_title(path)}",
            "<!-- written by python -m tests.docs.example_pages -->",
            *(["<!-- needs redis-server -->"] if "redis-server" in docstring else []),
            *map(_text, parts[:where_run]),
            f'```python title="{path.name}"\n{_program(path)}```',
            "## Run it",
            *(block for part in parts[where_run:] for block in _blocks(part, path.name, stays)),
            f"The file: [examples/{path.name}]({_SOURCE}/{path.name})\n",
        ]
    )


def _program(path: Path) -> str:
    """The example without its docstring, and without what is there for type checkers."""
    text = path.read_text().partition('"""')[2].partition('"""')[2]
    return re.sub(r"^# mypy: .*\n", "", text, flags=re.MULTILINE).lstrip("\n")


def _text(part: str) -> str:
    part = re.sub(r"``(.+?)``", r"`\1`", part)
    part = re.sub(r"`(\w+)\.py`", lambda found: f"[{found[1]}.py]({found[1]}.md)", part)
    return re.sub(r"`docs/([\w/-]+)\.md`", lambda found: f"[its page](../{found[1]}.md)", part)


def _blocks(part: str, name: str, stays: bool) -> Iterator[str]:
    if not part.startswith("    "):
        yield _text(part)
        return
    text = re.sub(r"^    ", "", part, flags=re.MULTILINE)
    if not text.startswith("$ "):
        yield f"<!-- shows example -->\n\n```text\n{text}\n```"
    elif "redis-server" in text:
        yield f"<!-- terminal redis -->\n\n```console\n{text}\n```"
    elif stays and re.search(rf"^\$ .*\b{re.escape(name)}$", text, re.MULTILINE):
        until = text.splitlines()[-1] if "redis" in text else ""
        note = f"terminal example until {until}" if until else "terminal example"
        yield f"<!-- {note} -->\n\n```console\n{text}\n```"
    else:
        yield f"```console\n{text}\n```"


def main() -> None:
    """Writes the pages, or checks them."""
    wanted = pages()
    if old := set(PAGES.glob("*.md")) - wanted.keys():
        sys.exit(f"no example of that name: {', '.join(sorted(map(str, old)))}")
    for path, text in wanted.items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path} is out of date: python -m tests.docs.example_pages")


if __name__ == "__main__":
    main()
