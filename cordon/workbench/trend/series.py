"""From an answer to one series per group: what was found in each month, how sure it is, and which forces it lacks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cordon.analyst.rows import Estimate
from cordon.contract import FORCE
from cordon.errors import Refused
from cordon.estimate.interval import REACH_95
from cordon.workbench.answer import Answer
from cordon.workbench.trend.periods import Grain, grain_of, label_of, months_of, number_of

EVERYTHING = "all"
"""Name of the only group of an answer that is not grouped by anything but time."""


@dataclass(frozen=True, slots=True)
class Place:
    """One month or quarter of a series, as it was answered."""

    number: int
    """Of the period, as `periods.number_of` counts."""
    value: float
    low: float
    high: float
    sigma: float
    """Standard deviation of the noise; NaN where the interval has no end."""
    missing: tuple[str, ...] = ()
    """Forces that answered and whose records do not cover all of it."""

    @property
    def is_usable(self) -> bool:
        """Whether it can be compared with others: a figure that lacks a force would look like a fall."""
        return not self.missing and math.isfinite(self.value) and math.isfinite(self.sigma)


@dataclass(frozen=True, slots=True)
class GroupSeries:
    """The places of one group, in order and without a gap."""

    name: str
    places: tuple[Place, ...]
    note: str = ""
    """Why a force has no series."""


@dataclass(frozen=True, slots=True)
class Panel:
    """All series of an answer."""

    grain: Grain
    by: str
    """Name of the column of groups; empty where there is none."""
    measure: str
    groups: tuple[GroupSeries, ...]
    undeclared: tuple[str, ...]
    """Forces that answered and whose covered months are not known."""


def read_panel(answer: Answer, measure: str | None = None) -> Panel:
    """The series of an answer that is grouped by month or quarter, and by at most one column beside it.

    Args:
        measure: name of the column of estimates; None for the first.

    Raises:
        Refused: the answer has another shape.
    """
    time, by = _keys(answer)
    at = _measure(answer, measure)
    found: dict[str, dict[int, Estimate]] = {}
    notes: dict[str, str] = {}
    for row in answer.rows:
        period = row.keys[time]
        name = EVERYTHING if by is None else row.keys[by]
        if period is None or name is None:
            # A total over time or groups is no part of a series.
            continue
        of = found.setdefault(name, {})
        if row.values:
            of[number_of(period)] = row.values[at]
        else:
            notes[name] = row.note
    grain = grain_of(next(row.keys[time] for row in answer.rows if row.keys[time] is not None))
    assert grain is not None  # noqa: S101 - `_keys` has looked
    covers = _coverage(answer)
    by_name = "" if by is None else answer.keys[by]
    groups = tuple(
        GroupSeries(name, _places(of, grain, covers if by_name != FORCE else _only(covers, name)), notes.get(name, ""))
        for name, of in found.items()
    )
    undeclared = tuple(force for force in answer.answered if force not in covers)
    return Panel(grain, by_name, answer.measures[at], groups, undeclared)


def _keys(answer: Answer) -> tuple[int, int | None]:
    """Where time and groups stand among the keys."""
    times = [
        at
        for at in range(len(answer.keys))
        if answer.rows and all(row.keys[at] is None or grain_of(row.keys[at]) for row in answer.rows)
    ]
    others = [at for at in range(len(answer.keys)) if at not in times]
    if len(times) != 1 or len(others) > 1:
        raise Refused(
            f"query {answer.query_id[:16]} has no series in it: it is grouped by {', '.join(answer.keys) or 'nothing'}",
            hint="an answer must be grouped by MONTH(…) or QUARTER(…), and by at most one column beside it",
        )
    return times[0], others[0] if others else None


def _measure(answer: Answer, name: str | None) -> int:
    if name is None:
        return 0
    if name not in answer.measures:
        raise Refused(
            f"query {answer.query_id[:16]} has no column {name!r}", hint=f"there are: {', '.join(answer.measures)}"
        )
    return answer.measures.index(name)


Coverage = Mapping[str, tuple[str, str]]
"""First and last month that each force declares to cover."""


def _coverage(answer: Answer) -> Coverage:
    vintages = answer.document.get("vintages", {})
    return {force: (held["first_month"], held["last_month"]) for force, held in vintages.items() if held["first_month"]}


def _only(covers: Coverage, force: str) -> Coverage:
    return {force: covers[force]} if force in covers else {}


def _places(found: Mapping[int, Estimate], grain: Grain, covers: Coverage) -> tuple[Place, ...]:
    return tuple(_place(number, found[number], _missing(number, grain, covers)) for number in sorted(found))


def _place(number: int, estimate: Estimate, missing: tuple[str, ...]) -> Place:
    width = estimate.high - estimate.low
    sigma = width / 2 / REACH_95 if math.isfinite(width) else math.nan
    return Place(number, estimate.value, estimate.low, estimate.high, sigma, missing)


def _missing(number: int, grain: Grain, covers: Coverage) -> tuple[str, ...]:
    first, last = months_of(number, grain)
    return tuple(force for force, (begins, ends) in sorted(covers.items()) if first < begins or last > ends)


def spans(numbers: Iterable[int], grain: Grain) -> str:
    """Periods in words: neighbours are joined, e.g. `2019-04 to 2019-06, 2020-03`."""
    ordered = sorted(set(numbers))
    starts = [n for n, before in zip(ordered, [None, *ordered], strict=False) if before is None or n != before + 1]
    ends = [n for n, after in pairwise([*ordered, -1]) if after != n + 1]
    return ", ".join(_span(first, last, grain) for first, last in zip(starts, ends, strict=True))


def _span(first: int, last: int, grain: Grain) -> str:
    begins = label_of(first, grain)
    return begins if first == last else f"{begins} to {label_of(last, grain)}"


def left_out(groups: Sequence[GroupSeries]) -> dict[int, tuple[str, ...]]:
    """Periods that some group's series lacks a force in, with those forces."""
    found: dict[int, set[str]] = {}
    for group in groups:
        for place in group.places:
            if place.missing:
                found.setdefault(place.number, set()).update(place.missing)
    return {number: tuple(sorted(forces)) for number, forces in sorted(found.items())}
