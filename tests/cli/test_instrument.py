"""``opentelemetry-instrument`` in front of a target: whose words are whose, and what it sets."""

from __future__ import annotations

import os

import click
import pytest

from aiocluster._cli import instrument
from aiocluster._cli.request import parse_run, with_options
from aiocluster.integrations.asgi import AsgiApp


@pytest.mark.parametrize(
    ("words", "options", "rest"),
    [
        ("uvicorn shop:app --port 80", "", "uvicorn shop:app --port 80"),
        ("--service_name shop --logs_exporter=none shop:app", "--service_name shop --logs_exporter=none", "shop:app"),
        ("python serve.py -v", "", "serve.py -v"),
        ("--service_name shop /usr/bin/python3.13 -m shop.web -v", "--service_name shop", "shop.web -v"),
        ("--version", "--version", ""),
        ("--service_name", "--service_name", ""),
    ],
)
def test_its_own_words(words: str, options: str, rest: str) -> None:
    assert instrument.apart(words.split()) == (options.split(), rest.split())


def test_what_it_sets_is_for_the_workers() -> None:
    ours = ["-w", "2", "--env", "OTEL_SERVICE_NAME=shop", "--env", "PYTHONPATH=/nowhere"]
    theirs = ["bin/opentelemetry-instrument", "--traces_exporter", "none"]
    request = parse_run([*ours, *theirs, "shop.web:app", "--port", "0"])
    assert isinstance(request.target, AsgiApp)
    assert request.settings["workers"] == 2
    env = request.settings["env"]
    assert isinstance(env, dict)
    first, *_, last = env.pop("PYTHONPATH").split(os.pathsep)
    assert (os.path.basename(first), last) == ("auto_instrumentation", "/nowhere")
    assert env == {"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_EXPORTER": "none"}
    assert "OTEL_TRACES_EXPORTER" not in os.environ


def test_more_options_stand_before_it() -> None:
    words = ["-w", "2", "opentelemetry-instrument", "--service_name", "shop", "uvicorn", "shop:app"]
    assert with_options(words, ["--loop", "asyncio"]) == [*words[:2], "--loop", "asyncio", *words[2:]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("opentelemetry-instrument", "there is no TARGET behind opentelemetry-instrument"),
        ("opentelemetry-instrument --help shop.web", "opentelemetry-instrument --help runs nothing"),
        ("opentelemetry-instrument --service-name shop shop.web", "opentelemetry-instrument: error: unrecognized"),
        ("--executable /bin/false opentelemetry-instrument shop.web", "opentelemetry-instrument: exit code 1"),
    ],
)
def test_bad_input_is_one_line(words: str, message: str) -> None:
    with pytest.raises(click.UsageError) as raised:
        parse_run(words.split())
    assert raised.value.format_message().startswith(message)
    assert "\n" not in raised.value.format_message()
