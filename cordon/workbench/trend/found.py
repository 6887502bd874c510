"""What a panel of series was found to show, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cordon.workbench.trend.amounts import Amount
from cordon.workbench.trend.model import Guard
from cordon.workbench.trend.periods import Grain

FALSE_ALARM = 0.05
"""Chance of any finding in an answer in which nothing has changed."""


@dataclass(frozen=True, slots=True)
class Tested:
    """A change, and whether it stands out of noise, chance and the series' own variation."""

    amount: Amount
    p_value: float
    p_adjusted: float
    """Over all groups and questions of the answer."""

    @property
    def stands_out(self) -> bool:
        """Whether it is a finding."""
        return self.p_adjusted <= FALSE_ALARM


@dataclass(frozen=True, slots=True)
class YearBefore:
    """The newest periods, on average, against the same ones of the year before."""

    periods: tuple[str, ...]
    tested: Tested
    recorded_low: float
    """Ends of the share's own 95 % interval for what is recorded: of the noise alone."""
    recorded_high: float


@dataclass(frozen=True, slots=True)
class Step:
    """A sudden and lasting change of level."""

    at: str
    """First period at the new level."""
    first: str
    """Periods that it may have begun in."""
    last: str
    amount: Amount
    p_adjusted: float
    """Of the group having any step at all."""


@dataclass(frozen=True, slots=True)
class Point:
    """One period of a group."""

    period: str
    estimate: float
    low: float
    high: float
    missing: tuple[str, ...]
    """Forces whose records do not cover it: it is compared with nothing."""
    adjusted: float
    """Without what comes back every year; NaN where the series is too short for that."""
    adjusted_low: float
    adjusted_high: float
    year_before: Amount | None
    """Against the same period of the year before; None where there is none."""


@dataclass(frozen=True, slots=True)
class GroupTrend:
    """What the series of one group shows."""

    name: str
    points: tuple[Point, ...]
    note: str = ""
    """Why nothing was sought, or a force has no series; empty otherwise."""
    guard: Guard = Guard.NONE
    """What of a yearly pattern is not taken for a change."""
    variation: float = math.nan
    """Variance of the series over what noise and chance explain of it, at least 1; NaN where nothing was sought."""
    noise_share: float = math.nan
    """Of the variance of a value about its level, what the noise makes."""
    year_before: YearBefore | None = None
    drift: Tested | None = None
    """A year on average, as if there were no steps; its share is of the mean level."""
    drift_beside: Amount | None = None
    """The same beside the steps; None where there are none. It has no test of its own."""
    steps: tuple[Step, ...] = ()
    is_uneven: bool = False
    """Whether its course changes beyond noise and chance, and neither drift, season nor a step describes how."""
    least_step: float = math.nan
    """Size of a step that would have been found four times in five; NaN where none was sought."""

    @property
    def is_adjusted(self) -> bool:
        """Whether the series is also shown without its season."""
        return any(math.isfinite(point.adjusted) for point in self.points)


@dataclass(frozen=True, slots=True)
class Trend:
    """What an answer shows over time."""

    grain: Grain
    by: str
    """Name of the column of groups; empty where there is none."""
    measure: str
    groups: tuple[GroupTrend, ...]
    tests: int
    """Questions over which findings are adjusted."""
    undeclared: tuple[str, ...]
    """Forces that answered, and whose covered months are not known."""
    season: bool
    """Whether a yearly pattern was guarded against, as far as each series allows."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not finite is null."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
