"""What an answer says of disparities, as plain frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from cordon.workbench.answer import Answer
from cordon.workbench.disparity.statement import Adjust, Per, Wanted

TEST = "likelihood ratio of equal rates under the known noise, one degree of freedom, two-sided"
"""The test, in words."""

ALL = "all that answered"
"""What stands for the place that is all forces together."""


class Verdict(StrEnum):
    """What a comparison comes to, after adjustment for how many are made."""

    HIGHER = "higher"
    LOWER = "lower"
    PERHAPS_HIGHER = "higher, perhaps by chance"
    """So it is in these records; as much may come about in one year by chance."""
    PERHAPS_LOWER = "lower, perhaps by chance"
    UNCLEAR = "cannot be told apart"
    """The noise, or what the residents may be off by, explains it."""
    UNSEEN = "one group hardly recorded"
    """Residents, and so few records at most that they say more of recording than of rates."""

    @property
    def stands_out(self) -> bool:
        """Whether the rates differ by more than the noise explains."""
        return self not in (Verdict.UNCLEAR, Verdict.UNSEEN)


@dataclass(frozen=True, slots=True)
class Span:
    """A value with the ends of its interval; NaN where there is none, infinite where the noise gives no end."""

    estimate: float
    low: float
    high: float

    @property
    def is_noisy(self) -> bool:
        """Whether the interval is at least as wide as the value."""
        return not self.high - self.low < abs(self.estimate)


@dataclass(frozen=True, slots=True)
class Rate:
    """One group's rate in one place."""

    force: str
    """Or `all that answered`."""
    group: str
    records: Span
    """With the outcome where one is asked for."""
    over: float
    """Residents, or all of the group's records as estimated."""
    rate: Span
    """Per 1,000 residents, or per 100 records."""
    is_reference: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One group beside the reference group in one place."""

    force: str
    group: str
    ratio: Span
    """Of the rates; the 95 % interval covers the noise: it is about these records."""
    together_low: float
    together_high: float
    """Ends that hold for all comparisons at once in 95 % of releases."""
    process_low: float
    process_high: float
    """95 % interval that covers also what chance makes of one year's records."""
    difference: Span
    """Of the rates, in their unit."""
    p: float
    """That the noise alone makes rates so different."""
    p_adjusted: float
    process_p_adjusted: float
    """The same for noise and chance together."""
    verdict: Verdict
    unknown_low: float
    unknown_high: float
    """The ratio if all records of unknown group were the reference's, and if all were this group's; noise aside."""
    tipping: float
    """Times that the group's residents would have to be what they are, against the reference's, for no disparity.

    Of the end of the interval with chance that is nearest to no disparity, as if the census were right; 1 where the
    interval holds it."""
    is_higher: bool
    """Whether the group's rate is the higher one of the two, as estimated."""
    most_records: float
    """Upper end of the records, with the outcome where one is asked for, of whichever has the lower rate."""
    at_equal: float
    """How many those would be at the other's rate."""
    is_seen: bool
    """Whether the noise tells the lower rate from nought; if not, the ratio has one end only."""

    @property
    def finding(self) -> str:
        """The verdict in words, and whether it rests on records that the noise does not tell from none."""
        few = self.verdict.stands_out and not self.is_seen
        return f"{self.verdict.value}, few records" if few else self.verdict.value


@dataclass(frozen=True, slots=True)
class Unknown:
    """Share of the records of a place whose group nobody knows, in percent."""

    force: str
    share: Span


@dataclass(frozen=True)
class Disparity:
    """What an answer says of disparities."""

    answer: Answer = field(repr=False)
    asked: Wanted
    adjust: Adjust
    within: float
    """How far residents may be off, as a share."""
    rates: tuple[Rate, ...]
    comparisons: tuple[Comparison, ...]
    unknown: tuple[Unknown, ...]
    absent: Mapping[str, str]
    """Forces that are not in the answer, each with the reason."""

    @property
    def unit(self) -> str:
        """What rates are in."""
        return "per 1,000 residents" if self.asked.per is Per.POPULATION else "per 100 records"

    @property
    def reference(self) -> str:
        """The group that the others are compared with, as people read it."""
        return self.asked.label(self.asked.reference)

    def of(self, force: str) -> tuple[Comparison, ...]:
        """The comparisons of one place."""
        return tuple(each for each in self.comparisons if each.force == force)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; null where there is no value or no end."""
        return {
            "query": self.answer.query_id,
            "sql": self.answer.sql,
            "dataset": self.answer.dataset,
            "protected_unit": self.answer.unit,
            "caveat": self.answer.caveat,
            "by": self.asked.by.name,
            "reference": self.reference,
            "where": self.asked.where,
            "outcomes": list(self.asked.outcome_labels),
            "per": self.asked.per.value,
            "unit": self.unit,
            "residents_within": self.within,
            "test": TEST,
            "adjust": self.adjust.value,
            "comparisons_made": len(self.comparisons),
            "answered": list(self.answer.answered),
            "absent": dict(self.absent),
            "left_out": list(self.asked.left_out),
            "epsilon": self.answer.cost.epsilon,
            "rates": [_plain(asdict(rate)) for rate in self.rates],
            "comparisons": [_plain(asdict(each)) for each in self.comparisons],
            "unknown": [_plain(asdict(each)) for each in self.unknown],
        }


def _plain(of: Any) -> Any:
    if isinstance(of, dict):
        return {name: _plain(value) for name, value in of.items()}
    return None if isinstance(of, float) and not math.isfinite(of) else of
