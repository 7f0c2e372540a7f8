"""How interpreters are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiocluster import Primary, current_worker
from aiocluster.settings import StartMethod


async def hello() -> None:
    await current_worker().send("hello")


@pytest.mark.parametrize("start_method", ["spawn", "template"])
async def test_what_lies_in_the_working_directory_stands_in_for_no_module(
    tmp_path: Path, start_method: StartMethod
) -> None:
    for name in ("select", "asyncio", "msgpack", "aiocluster"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not me')")
    async with Primary(hello, cwd=tmp_path, start_method=start_method) as primary, primary.events("message") as heard:
        await primary.fork()
        assert (await anext(heard)).message == "hello"
