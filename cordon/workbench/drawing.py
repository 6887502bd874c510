"""What a picture shows, as plain data: chosen and tested without a plotting library.

Every value carries its 95 % interval. An infinite end is drawn as an arrow, a mark without a value as absent, and
never as zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

UNKNOWN = math.nan


@dataclass(frozen=True, slots=True)
class Captions:
    """What stands around a picture, so that it can be read without its file's name."""

    title: str
    """What was asked."""
    lines: tuple[str, ...] = ()
    """Below it: who answered and who did not, the protected unit, cost, date and query."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One value with its interval."""

    label: str
    estimate: float
    """In the measure's unit; NaN where there is none."""
    low: float
    high: float
    noisy: bool = False
    """Too noisy to read: drawn so that nobody takes it for a value."""
    note: str = ""
    """Why there is no value, e.g. `did not answer`."""

    @property
    def is_absent(self) -> bool:
        """Whether nothing is known: drawn as a gap that says so."""
        return math.isnan(self.estimate)


@dataclass(frozen=True, slots=True)
class Series:
    """Marks of one group, in the order of the picture's places."""

    name: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """One or more series over named places that have no order of their own."""

    captions: Captions
    measure: str
    """What the values are, with their unit."""
    series: tuple[Series, ...]
    totals: Series | None = None
    """What the places add up to, set apart."""


@dataclass(frozen=True, slots=True)
class Change:
    """A place of a series from which on its level is another."""

    series: str
    label: str
    """Of the first place after the change."""
    words: str


@dataclass(frozen=True, slots=True)
class Lines:
    """One or more series over places in order, each with its band."""

    captions: Captions
    measure: str
    series: tuple[Series, ...]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One value for each pair of a row and a column; cells that are too noisy are hatched."""

    captions: Captions
    measure: str
    rows: tuple[Series, ...]
    """Each row's marks, all in the order of the same columns."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Where the values of a number lie: each series' marks are quantiles of it."""

    captions: Captions
    measure: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of a forest: an effect with its interval, and whether it can be told from none."""

    mark: Mark
    stands_out: bool


@dataclass(frozen=True, slots=True)
class Forest:
    """Effects below one another, beside a line that stands for none."""

    captions: Captions
    measure: str
    groups: tuple[tuple[str, tuple[Effect, ...]], ...]
    """Effects under headings; one empty heading where there is nothing to set apart."""
    none: float
    """The value that stands for no effect: 1 for ratios, 0 for differences."""
    ratio: bool = False
    """Drawn on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Panels:
    """Several pictures of one answer, below one another: one for each measure."""

    captions: Captions
    panels: tuple[Bars | Lines | HeatMap | Quantiles, ...]


Drawing = Bars | Lines | HeatMap | Quantiles | Forest | Panels
