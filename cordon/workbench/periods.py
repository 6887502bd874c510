"""Labels of days, months, quarters and years as places in order, as docs/query.md writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

MOST_FILLED = 10_000
"""Periods of a span that is filled; a longer one is drawn as it stands."""


@dataclass(frozen=True, slots=True)
class Grain:
    """How labels of one length of period are read."""

    pattern: re.Pattern[str]
    number: Callable[[re.Match[str]], int]
    """Periods since one that all labels of the grain share. Raises ValueError for what is no date."""
    label: Callable[[int], str]
    """The inverse of `number`."""


GRAINS = (
    Grain(re.compile(r"(\d{4})", re.ASCII), lambda found: int(found[1]), lambda number: f"{number:04d}"),
    Grain(
        re.compile(r"(\d{4})-Q([1-4])", re.ASCII),
        lambda found: int(found[1]) * 4 + int(found[2]) - 1,
        lambda number: f"{number // 4:04d}-Q{number % 4 + 1}",
    ),
    Grain(
        re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII),
        lambda found: int(found[1]) * 12 + int(found[2]) - 1,
        lambda number: f"{number // 12:04d}-{number % 12 + 1:02d}",
    ),
    Grain(
        re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII),
        lambda found: date(int(found[1]), int(found[2]), int(found[3])).toordinal(),
        lambda number: date.fromordinal(number).isoformat(),
    ),
)


def are_periods(labels: Iterable[str]) -> bool:
    """Whether all labels are periods of one grain; of none, it cannot be told."""
    return _read(set(labels)) is not None


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Every period from the first to the last, also those that are not among the labels: a gap is seen as a gap."""
    found = _read(set(labels))
    if found is None:
        return tuple(sorted(set(labels)))
    grain, numbers = found
    first, last = min(numbers), max(numbers)
    if last - first >= MOST_FILLED:
        return tuple(grain.label(number) for number in sorted(numbers))
    return tuple(grain.label(number) for number in range(first, last + 1))


def _read(labels: set[str]) -> tuple[Grain, list[int]] | None:
    for grain in GRAINS:
        found = [grain.pattern.fullmatch(label) for label in labels]
        if not found or not all(found):
            continue
        try:
            return grain, [grain.number(match) for match in found if match is not None]
        except ValueError:
            return None
    return None
