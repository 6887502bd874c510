"""What a regression comes to: coefficients with intervals, as plain values."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Coefficient:
    """What one term adds to the response, others held equal; percentage points where that is a condition."""

    term: str
    """A number's name, a category's, or `intercept`."""
    level: str
    """Of a category: which is compared with its reference; empty otherwise."""
    reference: str
    estimate: float
    low: float
    high: float
    noise_share: float
    """Of the variance, what privacy noise adds; the rest is the rows' own scatter."""
    p_value: float
    """Of no effect, by the same score as the interval; NaN where that has no ends, and of the intercept."""

    @property
    def label(self) -> str:
        """Term and level in one."""
        return f"{self.term}: {self.level}" if self.level else self.term

    @property
    def is_told(self) -> bool:
        """Whether the interval ends: where it does not, the noise allows any value."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def stands_out(self) -> bool:
        """Whether the interval does not hold zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Regression:
    """A fitted model."""

    formula: str
    response: str
    """In words."""
    unit: str
    coefficients: tuple[Coefficient, ...]
    """The intercept first."""
    base: str
    """What the intercept is of, in words."""
    rows: float
    rows_low: float
    rows_high: float
    explained: float
    """R²: share of the response's variance; an estimate without an interval, NaN where the noise leaves none."""
    scatter: float
    """Standard deviation of what is not explained, in the response's unit; NaN where the noise leaves none."""
    left_out: tuple[str, ...]
    """Levels with too few rows."""
    only: tuple[str, ...] = ()
    """What narrows the records beyond the formula, in words."""

    @property
    def terms(self) -> tuple[Coefficient, ...]:
        """The coefficients without the intercept."""
        return self.coefficients[1:]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where there is none."""
        found = asdict(self)
        found["coefficients"] = [_finite(asdict(of)) for of in self.coefficients]
        return _finite(found)


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
