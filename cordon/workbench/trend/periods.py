"""Months and quarters as numbers that can be counted on, and back to the labels that people read."""

from __future__ import annotations

import re
from enum import StrEnum

_MONTH = re.compile(r"^(\d{4})-(\d\d)$")
_QUARTER = re.compile(r"^(\d{4})-Q([1-4])$")
MONTHS_A_YEAR, MONTHS_A_QUARTER = 12, 3


class Grain(StrEnum):
    """How long one place of a series lasts."""

    MONTH = "month"
    QUARTER = "quarter"

    @property
    def a_year(self) -> int:
        """How many of them a year has."""
        return MONTHS_A_YEAR if self is Grain.MONTH else MONTHS_A_YEAR // MONTHS_A_QUARTER


def grain_of(label: str | None) -> Grain | None:
    """What a key of an answer is a label of; None for anything else."""
    if label is not None and _MONTH.match(label):
        return Grain.MONTH
    return Grain.QUARTER if label is not None and _QUARTER.match(label) else None


def number_of(label: str) -> int:
    """Periods since the year 0.

    Raises:
        ValueError: it is no label of a month or quarter.
    """
    month, quarter = _MONTH.match(label), _QUARTER.match(label)
    if month and 1 <= int(month[2]) <= MONTHS_A_YEAR:
        return int(month[1]) * MONTHS_A_YEAR + int(month[2]) - 1
    if quarter:
        return int(quarter[1]) * Grain.QUARTER.a_year + int(quarter[2]) - 1
    raise ValueError(f"{label!r} is no month or quarter")


def label_of(number: int, grain: Grain) -> str:
    """The label of a period."""
    year, part = divmod(number, grain.a_year)
    return f"{year:04d}-{part + 1:02d}" if grain is Grain.MONTH else f"{year:04d}-Q{part + 1}"


def months_of(number: int, grain: Grain) -> tuple[str, str]:
    """Labels of a period's first and last month."""
    if grain is Grain.MONTH:
        return label_of(number, grain), label_of(number, grain)
    first = number * MONTHS_A_QUARTER
    return label_of(first, Grain.MONTH), label_of(first + MONTHS_A_QUARTER - 1, Grain.MONTH)
