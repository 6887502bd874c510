"""What a column's values say about which contract column it feeds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from cordon.contract import Category, Column, Date, Identifier, Number
from node.suggest.codes import CodeProposal, Confidence, propose_codes
from node.suggest.known import known
from node.suggest.sample import ENOUGH, PATTERNS, Sample

_ISO = re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?)?")
_UTC = re.compile(r".*\d(Z|\+00(:?00)?)")
_NUMBER = re.compile(r"[£$€]?\s*[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?")
_NO_DATE = re.compile(r"[0/.: -]{4,}")
"""Zeros where a date should stand."""

_ONE_FORMAT = 0.98
"""Share of dates that one format must read, so that no second is looked for."""

_MOST_FORMATS = 3
_WEIGHTS = {Confidence.SURE: 1.0, Confidence.LIKELY: 0.9, Confidence.GUESS: 0.3}


@dataclass(frozen=True, slots=True)
class Evidence:
    """How well a column's values fit a contract column, and what a mapping has to say about them."""

    score: float | None
    """From 0 (they contradict it) to 1; None where there are no values to judge by."""

    why: str
    codes: tuple[CodeProposal, ...] = ()
    formats: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """Values that mean that nothing is known; only common markers, never a value of an identifier."""

    time_zone: str | None = None
    dates: bool = False
    """Whether most values are dates, of whatever time."""

    symbols: tuple[str, ...] = ()
    """Characters to take out of a number's text."""

    notes: tuple[str, ...] = ()
    """What a person should know besides."""


def evidence(sample: Sample, column: Column) -> Evidence:
    """What the values of `sample` say about feeding `column`."""
    if not sample.values:
        return Evidence(None, "the sample has no value of it")
    if isinstance(column, Category):
        return _category(sample, column)
    if isinstance(column, Date):
        return _date(sample, column)
    if isinstance(column, Number):
        return _number(sample, column)
    return _identifier(sample, column)


def _markers(sample: Sample) -> tuple[str, ...]:
    return tuple(sorted(value for value in sample.values if value.casefold() in known().markers))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _category(sample: Sample, column: Category) -> Evidence:
    if len(sample.values) > 4 * len(column.codes) + 40:
        notes = ("its values are too many to be listed: a list of your own goes into codes_file",)
        return Evidence(0.0, "it has far more values than there are codes", notes=notes)
    codes = propose_codes(column, sample)
    told = [code for code in codes if not code.missing]
    rows = sum(code.rows for code in told)
    if not rows:
        return Evidence(None, "the sample has only values that mean that nothing is known", codes)
    fitting = sum(_WEIGHTS[code.confidence] * code.rows for code in told if code.code is not None)
    meant = {code.code for code in told if code.code is not None}
    unknown = tuple(code.local for code in codes if code.missing)
    why = f"{_percent(sum(c.rows for c in told if c.code is not None) / rows)} of the sampled values are like its codes"
    # Two values that fit, such as yes and no, fit many a column.
    return Evidence(fitting / rows * min(1.0, (len(meant) + 1) / 3), why, codes, unknown=unknown)


def _date(sample: Sample, column: Date) -> Evidence:
    if sample.type.startswith(("DATE", "TIMESTAMP")):
        return _typed_date(sample, column)
    markers = (*_markers(sample), *(value for value in sorted(sample.values) if _NO_DATE.fullmatch(value)))
    dates = {value: rows for value, rows in sample.values.items() if value not in markers}
    if not dates:
        return Evidence(None, "the sample has only values that mean that nothing is known", unknown=markers)
    read: dict[str, datetime] = {value: day for value in dates if (day := _iso(value)) is not None}
    formats: tuple[str, ...] = ()
    if sample.share(read) < 0.5 * sum(dates.values()) / sample.filled:
        formats, read = _formats(dates)
    always_missing = tuple(sorted(v for v, day in read.items() if day.date().isoformat() in known().date_markers))
    real = {value: day for value, day in read.items() if value not in always_missing}
    if not real:
        return Evidence(0.0, "its values are no dates")
    parsed = sum(dates[value] for value in read) / sum(dates.values())
    inside = _inside(real, dates, column)
    utc = sum(dates[value] for value in real if _UTC.fullmatch(value)) / sum(dates[value] for value in real)
    how = f"in the format {formats[0]}" if formats else "in ISO 8601"
    notes = ("the first of the formats reads a day before a month: check",) if "%m/%d" in "".join(formats) else ()
    return Evidence(
        _date_score(parsed, inside),
        f"{_percent(parsed)} of the sampled values are dates {how}, {_percent(inside)} of them in the contract's time",
        formats=formats,
        dates=parsed > 0.5,
        unknown=(*markers, *always_missing),
        time_zone="Europe/London" if utc > 0.9 and not formats else None,
        notes=notes,
    )


def _typed_date(sample: Sample, column: Date) -> Evidence:
    read = {value: day for value in sample.values if (day := _iso(value)) is not None}
    markers = tuple(sorted(value for value, day in read.items() if day.date().isoformat() in known().date_markers))
    real = {value: day for value, day in read.items() if value not in markers}
    inside = _inside(real, sample.values, column) if real else 0.0
    zone = "Europe/London" if "TIME ZONE" in sample.type else None
    why = f"it is a date at the source, {_percent(inside)} in the contract's time"
    return Evidence(_date_score(1.0, inside), why, dates=True, unknown=markers, time_zone=zone)


def _date_score(parsed: float, inside: float) -> float:
    # Nothing at all in the contract's time: another date, such as a birth.
    return 0.5 * parsed + 0.5 * inside if inside > 0.02 else 0.1 * parsed


def _inside(read: dict[str, datetime], rows: object, column: Date) -> float:
    counts = rows if isinstance(rows, dict) else dict(rows)  # type: ignore[call-overload]
    total = sum(counts[value] for value in read)
    return float(sum(counts[value] for value, day in read.items() if column.min <= day.date() <= column.max) / total)


def _iso(value: str) -> datetime | None:
    if not _ISO.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value if len(value) > 7 else value + "-01")
    except ValueError:
        return None


def _formats(dates: dict[str, int]) -> tuple[tuple[str, ...], dict[str, datetime]]:
    """The fewest formats that read nearly all dates, and the dates read."""
    chosen: list[str] = []
    read: dict[str, datetime] = {}
    left = {value: rows for value, rows in dates.items() if any(c.isdigit() for c in value) and 5 < len(value) < 31}
    total = sum(dates.values())
    while left and len(chosen) < _MOST_FORMATS and sum(dates[value] for value in read) < _ONE_FORMAT * total:
        found = [(sum(left[v] for v in by), -at, by) for at, by in enumerate(map(_reader(left), known().formats))]
        rows, at, by = max(found, key=lambda item: item[:2])
        if rows < 0.01 * total:
            break
        chosen.append(known().formats[-at])
        read |= by
        left = {value: count for value, count in left.items() if value not in by}
    return tuple(chosen), read


class _reader:  # noqa: N801 - a function with what it reads
    def __init__(self, values: dict[str, int]) -> None:
        self._few = list(values)[:30]
        self._all = values

    def __call__(self, form: str) -> dict[str, datetime]:
        # A format that reads none of a few reads hardly any of many; trying each on all would take seconds.
        if not any(_read(value, form) for value in self._few):
            return {}
        return {value: day for value in self._all if (day := _read(value, form)) is not None}


def _read(value: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(value, form)  # noqa: DTZ007 - a civil date has no zone
    except ValueError:
        return None


def _number(sample: Sample, column: Number) -> Evidence:
    markers = _markers(sample)
    numbers = {value: rows for value, rows in sample.values.items() if value not in markers}
    if not numbers:
        return Evidence(None, "the sample has only values that mean that nothing is known", unknown=markers)
    read = {value: number for value in numbers if (number := _amount(value)) is not None}
    if not read:
        return Evidence(0.0, "its values are no numbers", unknown=markers)
    odd = _odd_numbers(read, numbers, column)
    real = {value: number for value, number in read.items() if value not in odd}
    inside = {value for value, number in real.items() if column.min <= number <= column.max}
    symbols = tuple(symbol for symbol in "£$€," if any(symbol in value for value in read))
    share = sum(numbers[value] for value in inside) / (
        sum(numbers.values()) - sum(numbers[value] for value in odd) or 1
    )
    notes = ("out of place, and perhaps missing values: check " + ", ".join(odd),) if odd else ()
    parsed = sum(numbers[value] for value in read) / sum(numbers.values())
    return Evidence(
        # What lies beyond the bounds will be clamped, and need not be another thing.
        0.5 * parsed + 0.5 * share,
        f"{_percent(share)} of the sampled values are numbers within the contract's bounds",
        unknown=(*markers, *odd),
        symbols=symbols,
        notes=notes,
    )


def _amount(value: str) -> Fraction | None:
    if not _NUMBER.fullmatch(value):
        return None
    return Fraction(re.sub(r"[£$€,\s]", "", value))


def _odd_numbers(read: dict[str, Fraction], rows: dict[str, int], column: Number) -> tuple[str, ...]:
    counts: dict[Fraction, int] = {}
    for value, number in read.items():
        counts[number] = counts.get(number, 0) + rows[value]
    odd = []
    for value, number in read.items():
        if value not in known().number_markers or number == 0:
            continue
        beside = max(counts.get(number - 1, 0), counts.get(number + 1, 0), counts.get(number - 2, 0))
        if not column.min <= number <= column.max or rows[value] > 5 * (beside + 1):
            odd.append(value)
    return tuple(sorted(odd))


def _identifier(sample: Sample, column: Identifier) -> Evidence:
    markers = _markers(sample)
    scheme = column.scheme or next((name for name in ("phone", "vehicle", "pnc_id") if name in column.name), None)
    if scheme is not None:
        share = (
            sample.looks_like(scheme) * sample.filled / (sample.filled - sum(sample.values[m] for m in markers) or 1)
        )
        return Evidence(share, f"{_percent(share)} of the sampled values have its form", unknown=markers)
    if sample.type.startswith(("DATE", "TIMESTAMP")) or max(sample.looks_like(name) for name in PATTERNS) > 0.5:
        return Evidence(0.0, "its values have the form of something else", unknown=markers)
    if sample.filled < ENOUGH:
        return Evidence(None, "the sample has too few values of it", unknown=markers)
    different = len(sample.values) / sample.filled
    fits = different > 0.05 and len(sample.values) >= ENOUGH
    return Evidence(
        1.0 if fits else 0.3, "its values are many and differ" if fits else "few values differ", unknown=markers
    )
