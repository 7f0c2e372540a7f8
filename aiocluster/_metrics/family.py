"""A metric family as it travels from a worker to the primary: plain data, without prometheus-client. Pure.

A *report* is what one worker has counted so far: its families, each packed by itself, and what could not be had.
Labels are sorted by name, so that the same series has the same labels in all workers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from .._wire.codec import pack_fields, unpack_fields
from ..errors import ProtocolError

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]

MAX_REPORT = 64 * 1024 * 1024
"""Bytes of a packed report: some 800,000 series. A security limit: the primary keeps it in memory."""

_PART = 256  # samples

TYPES = frozenset({"counter", "gauge", "summary", "histogram", "gaugehistogram", "unknown", "info", "stateset"})


SUMMED = frozenset({"counter", "histogram", "summary"})
"""The types of families that are summed."""


class Exemplar(NamedTuple):
    """An example for a counter or a bucket: its labels, its value, and when it was seen (seconds since the epoch)."""

    labels: Labels
    value: float
    timestamp: float | None


class Sample(NamedTuple):
    """One number.

    ``timestamp`` is the application's own. ``since`` says, on a monotonic clock, when a gauge with the mode
    ``mostrecent`` was set last, as far as reports tell; 0.0: never.
    """

    name: str
    labels: Labels
    value: float
    timestamp: float | None = None
    exemplar: Exemplar | None = None
    since: float = 0.0


class Family(NamedTuple):
    """A metric family. ``mode`` is the ``multiprocess_mode`` that a gauge was declared with; None: it has none.

    ``samples`` can be gone through more than once.
    """

    name: str
    type: str
    documentation: str
    unit: str
    mode: str | None
    samples: Iterable[Sample]


class Report(NamedTuple):
    """What one worker has counted: its packed families, and by what could not be had, why."""

    families: list[bytes]
    errors: Mapping[str, str]


def pack_report(report: Report) -> bytes:
    """Packs a report."""
    return pack_fields([report.families, dict(report.errors)])


def unpack_report(body: bytes) -> Report:
    """Unpacks a report; empty bytes are an empty one.

    Raises:
        ValueError: It is none.
    """
    if not body:
        return Report([], {})
    families, errors = _of_length(2, _unpacked(body))
    if type(families) is not list or any(type(one) is not bytes for one in families) or type(errors) is not dict:
        raise ValueError("these bytes are not a report")
    return Report(families, {_text(key): _text(text) for key, text in errors.items()})


def pack_in_parts(family: Family) -> Iterator[bytes]:
    """Packs a family, a long one as several of the same name: to pack or unpack each takes a fraction of a millisecond.

    Raises:
        ValueError: A text can't be encoded, or a number is out of range.
    """
    rest = iter(family.samples)
    yield pack_family(family._replace(samples=[*islice(rest, _PART)]))
    while samples := [*islice(rest, _PART)]:
        yield pack_family(family._replace(samples=samples))


def pack_family(family: Family) -> bytes:
    """Packs a family, its samples by column: each series by itself, all values, and what few have besides a value.

    Raises:
        ValueError: A text can't be encoded, or a number is out of range.
    """
    series, values, more = [], [], {}
    try:
        for index, (name, labels, value, timestamp, exemplar, since) in enumerate(family.samples):
            series.append(pack_fields([name, *(text for pair in labels for text in pair)]))
            values.append(value)
            if timestamp is not None or exemplar is not None or since:
                more[index] = [timestamp, _flat(exemplar), since]
        return pack_fields([*family[:5], series, struct.pack(f"<{len(values)}d", *values), more])
    except (UnicodeEncodeError, OverflowError, TypeError, struct.error) as error:
        raise ValueError(f"{family.name}: {error}") from None


def unpack_family(body: bytes, known: dict[bytes, Series]) -> Family:
    """Unpacks a family.

    Args:
        body: The packed family.
        known: Series that have been unpacked already. All workers have much the same ones.

    Raises:
        ValueError: It is none.
    """
    name, kind, documentation, unit, mode, packed, values, more = _of_length(8, _unpacked(body))
    if _text(kind) not in TYPES or not (mode is None or type(mode) is str):
        raise ValueError("these bytes are not a metric family")
    if (
        type(packed) is not list
        or type(values) is not bytes
        or len(values) != 8 * len(packed)
        or type(more) is not dict
    ):
        raise ValueError("these bytes are not the samples of a metric family")
    series = [known.get(one) or known.setdefault(one, _series(one)) for one in packed if type(one) is bytes]
    if len(series) != len(packed):
        raise ValueError("a series must be bytes")
    samples = _Columns(
        series, struct.unpack(f"<{len(series)}d", values), {key: _more(one) for key, one in more.items()}
    )
    return Family(_text(name), kind, _text(documentation), _text(unit), mode, samples)


class _Columns:
    """Samples by column: few objects, whose number decides how long Python's garbage collector stops all threads."""

    __slots__ = ("_more", "_series", "_values")

    def __init__(
        self,
        series: list[Series],
        values: tuple[float, ...],
        more: dict[int, tuple[float | None, Exemplar | None, float]],
    ) -> None:
        self._series = series
        self._values = values
        self._more = more

    def __iter__(self) -> Iterator[Sample]:
        for index, ((name, labels), value) in enumerate(zip(self._series, self._values, strict=True)):
            yield Sample(name, labels, value, *self._more.get(index, ()))


def _unpacked(body: bytes) -> Any:
    try:
        return unpack_fields(body)
    except ProtocolError as error:
        raise ValueError(str(error)) from None


def _flat(exemplar: Exemplar | None) -> list[Any] | None:
    if exemplar is None:
        return None
    labels, value, timestamp = exemplar
    return [[text for pair in labels for text in pair], value, timestamp]


def _series(packed: bytes) -> Series:
    fields = _unpacked(packed)
    if type(fields) is not list or not fields:
        raise ValueError("a series must have a name")
    return _text(fields[0]), _labels(fields[1:])


def _more(array: Any) -> tuple[float | None, Exemplar | None, float]:
    timestamp, exemplar, since = _of_length(3, array)
    return _time(timestamp), _exemplar(exemplar), _number(since)


def _exemplar(array: Any) -> Exemplar | None:
    if array is None:
        return None
    labels, value, timestamp = _of_length(3, array)
    return Exemplar(_labels(labels), _number(value), _time(timestamp))


def _labels(flat: Any) -> Labels:
    if type(flat) is not list or len(flat) % 2 or any(type(text) is not str for text in flat):
        raise ValueError("labels must be names and values in turn")
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _time(value: Any) -> float | None:
    return None if value is None else _number(value)


def _number(value: Any) -> float:
    if type(value) is not float:
        raise ValueError(f"{type(value).__name__} in place of a number")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{type(value).__name__} in place of a text")
    return value


def _of_length(length: int, array: Any) -> list[Any]:
    if type(array) is not list or len(array) != length:
        raise ValueError(f"these bytes do not have {length} fields")
    return array
