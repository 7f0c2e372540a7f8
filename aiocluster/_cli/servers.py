"""What is said about words that probably mean something else than they do."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from .._redis.url import redacted

_OWN_PROCESSES: Mapping[str, bool] = {"--workers": True, "--reload": False}
_SERVERS: Mapping[str, Mapping[str, bool]] = {
    "uvicorn": _OWN_PROCESSES,
    "hypercorn": {"-w": True, **_OWN_PROCESSES},
    "granian": _OWN_PROCESSES,
    "gunicorn": {"-w": True, **_OWN_PROCESSES},
    "fastapi": _OWN_PROCESSES,
}
"""Servers, and their options that start processes of their own: whether each takes a value."""


IN_A_WORKER: Mapping[str, str] = {"hypercorn": "aiocluster._worker.hypercorn"}
"""Servers that would bind in each worker by themselves: the module that runs their command on shared ports."""


def warning(target: str, words: Sequence[str], ours: Mapping[str, bool], before: Sequence[str]) -> str | None:
    """Returns one line about a word that was probably meant for the cluster, or None.

    Args:
        target: The target: a script, a module or a function.
        words: What follows it.
        ours: The options of the cluster, as they are written: whether each takes a value.
        before: What stands before the target.
    """
    if (options := _SERVERS.get(server_name(target))) is not None:
        return _of_a_server(target, words, options)
    if not words or (found := _option(words[0], ours)) is None:
        return None
    shown = _with_value(words, found, ours)
    right = _joined(["aiocluster", "run", *before, *shown, target, *words[len(shown) :]])
    return f"what follows {target} is its own, so is {_joined(shown)}; for the cluster: {right}"


def _of_a_server(target: str, words: Sequence[str], options: Mapping[str, bool]) -> str | None:
    server = server_name(target)
    effect = "has no effect here" if server in IN_A_WORKER else "starts more processes below each worker"
    for number, word in enumerate(words):
        if (found := _option(word, options)) is None:
            continue
        shown = _with_value(words[number:], found, options)
        value = shown[-1].removeprefix(f"{found}=").removeprefix("-w")
        if options[found] and value in ("0", "1"):
            continue  # in one process
        rest = [*words[:number], *words[number + len(shown) :]]
        right = ["aiocluster", "run", *(["-w", value] if options[found] else [found]), target, *rest]
        return f"{_joined(shown)} is {server}'s own and {effect}; for the cluster: {_joined(right)}"
    return None


def _joined(words: Sequence[str]) -> str:
    """Those words for a shell, without the passwords of URLs: what is said is logged."""
    return shlex.join(redacted(word) if "://" in word else word for word in words)


def server_name(target: str) -> str:
    """Returns the name of the program that a target is, without its folder."""
    return os.path.basename(target)


def _option(word: str, options: Mapping[str, bool]) -> str | None:
    """Returns which of these options a word is, with or without its value."""
    if word.startswith("--"):
        name = word.partition("=")[0]
        return name if name in options else None
    return word[:2] if len(word) > 1 and word[0] == "-" and word[:2] in options else None


def _with_value(words: Sequence[str], option: str, options: Mapping[str, bool]) -> list[str]:
    """Returns the option at the head of these words, with its value if that is the next word."""
    is_next = options[option] and words[0] == option and len(words) > 1
    return list(words[: 2 if is_next else 1])
