"""What files say: options in TOML, and variables for the workers."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from .._did_you_mean import did_you_mean

PYPROJECT = "pyproject.toml"


def read_toml(path: str | None) -> tuple[str, Mapping[str, Any]]:
    """Returns the options in a file, and how errors name their place.

    Args:
        path: The file. One that is called ``pyproject.toml`` has them in its table ``[tool.aiocluster]``, any other one
            at its top. None: ``pyproject.toml`` in the working directory, if there is one.

    Raises:
        click.UsageError: It can't be read, or is no TOML.
    """
    file = Path(PYPROJECT if path is None else path)
    try:
        found: Any = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError):
            return "", {}
        raise click.UsageError(f"--config: {file} can't be read: {error.strerror}") from None
    except ValueError as error:  # also of its encoding
        if path is None and b"[tool.aiocluster" not in file.read_bytes():
            return "", {}  # none of ours: other tools will complain
        raise click.UsageError(f"{file} is not valid TOML: {error}") from None
    place = str(file)
    if file.name == PYPROJECT:
        place = f"{file}, [tool.aiocluster]"
        tool = found.get("tool", {})
        found = tool.get("aiocluster", {}) if isinstance(tool, Mapping) else {}
        if not isinstance(found, Mapping):
            raise click.UsageError(f"{file}: tool.aiocluster must be a table, not {found!r}")
    return place, found


def unknown(found: Mapping[str, Any], names: Mapping[str, click.Parameter]) -> list[str]:
    """Returns the keys that are no option.

    Args:
        found: What `read_toml` has found.
        names: The options by each of their names.
    """
    return [key for key in found if key.replace("-", "_") not in names]


def default_map(place: str, found: Mapping[str, Any], names: Mapping[str, click.Parameter]) -> dict[str, Any]:
    """Returns values for the options, as click takes them.

    Args:
        place: The file, for errors.
        found: What `read_toml` has found in it.
        names: The options by each of their names.

    Raises:
        click.UsageError: There is no such option, or its value has the wrong shape.
    """
    values: dict[str, Any] = {}
    if wrong := unknown(found, names):
        raise click.UsageError(f"{place}: there is no option {wrong[0]!r}{did_you_mean(wrong[0], _written(names))}")
    for key, value in found.items():
        option = names[key.replace("-", "_")]
        assert option.name is not None
        if option.name in values:
            raise click.UsageError(f"{place}: {key!r} is there twice, under two of its names")
        if option.multiple or option.nargs == -1:
            value = _several(place, key, value)
        elif isinstance(option.type, click.Path) and not isinstance(value, str):
            raise click.UsageError(f"{place}: {key} must be a path, not {value!r}")
        values[option.name] = value
    return values


def _written(names: Iterable[str]) -> list[str]:
    return sorted({name.replace("_", "-") for name in names})


def _several(place: str, key: str, value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case Mapping() if all(isinstance(one, str) for one in value.values()):
            return [f"{name}={one}" for name, one in value.items()]
        case list() if all(isinstance(one, str) for one in value):
            return value
    raise click.UsageError(f"{place}: {key} must be text, a list of texts or a table of texts, not {value!r}")


def read_env_file(path: str) -> dict[str, str]:
    """Returns the variables in a file: ``NAME=VALUE`` in each line, as systemd and docker read them.

    Empty lines and those that begin with ``#`` are skipped. ``export`` may stand before a name. A value may be quoted
    as in a shell; nothing is expanded.

    Raises:
        click.UsageError: It can't be read, or a line is none of these. The text names the line.
    """
    variables: dict[str, str] = {}
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise click.UsageError(f"--env-file: {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise click.UsageError(f"--env-file: {path} is not UTF-8: {error}") from None
    for number, line in enumerate(lines, 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        found = re.fullmatch(r"(?:export\s+)?([^\s=\0]+)\s*=\s*([^\0]*)", line)
        try:
            if found is None:
                raise ValueError("a line is NAME=VALUE, a comment or empty")
            variables[found[1]] = _unquoted(found[2])
        except ValueError as error:
            raise click.UsageError(f"--env-file: {path}, line {number}: {error}") from None
    return variables


def _unquoted(value: str) -> str:
    if not value.startswith(("'", '"')):
        return re.split(r"\s#", value, maxsplit=1)[0].strip()
    words = shlex.split(value, comments=True)  # ValueError: no closing quotation
    if len(words) != 1:
        raise ValueError("something stands behind the quoted value")
    return words[0]
