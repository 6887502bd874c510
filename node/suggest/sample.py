"""What was seen of a source's columns: a sample of values, and which of them may be shown to anybody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

ENOUGH = 20
"""Rows with a value below which values prove nothing."""

FEWEST_ROWS = 3
"""Rows of a sample that a value stands in, below which it is not printed."""

MOST_LISTED = 60
"""Different values of a column above which none is printed."""

LONGEST_LISTED = 80
"""Characters of a value above which it is not printed: free text."""

_COMPACT = re.compile(r"[\s().-]")
PATTERNS = {
    "phone": re.compile(r"(?:\+|00)?44(?:0)?\d{9,10}|0\d{9,10}"),
    "vehicle": re.compile(r"[A-Z]{2}[0-9OI]{2}[A-Z0-9]{3}|[A-Z]\d{1,3}[A-Z]{3}|[A-Z]{3}\d{1,3}[A-Z]", re.IGNORECASE),
    "pnc_id": re.compile(r"(?:19|20)?\d{2}/?\d{1,7}[A-Z]", re.IGNORECASE),
    "e-mail": re.compile(r"\S+@\S+\.\w+"),
    "postcode": re.compile(r"[A-Z]{1,2}\d[A-Z0-9]?\d[A-Z]{2}", re.IGNORECASE),
}
"""How identifiers look once spaces, brackets, dots and dashes are gone; no check of a check letter."""

_LIKENESS = {
    "phone": "telephone numbers",
    "vehicle": "vehicle registrations",
    "pnc_id": "PNC ids",
    "e-mail": "e-mail addresses",
    "postcode": "postcodes",
}


def percent(share: float) -> str:
    """A share of rows as people read it; never 0 % of what there is."""
    return f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"


@dataclass(frozen=True)
class Sample:
    """A column's values in a sample of rows. Private to the force: values leave it only where `listable` says so."""

    values: Mapping[str, int]
    """Trimmed text → rows; a missing or empty value is not in it."""

    missing: int = 0
    """Rows without a value."""

    type: str = "VARCHAR"
    """The source's type of the column, by DuckDB's name."""

    @cached_property
    def filled(self) -> int:
        """Rows with a value."""
        return sum(self.values.values())

    def share(self, those: Iterable[str]) -> float:
        """Share of the rows with a value whose value is one of `those`."""
        return sum(self.values[value] for value in those) / self.filled if self.filled else 0.0

    def looks_like(self, pattern: str) -> float:
        """Share of the rows with a value that look like one of `PATTERNS`."""
        form = PATTERNS[pattern]
        return self.share(value for value in self.values if form.fullmatch(_COMPACT.sub("", value)))

    @cached_property
    def many(self) -> bool:
        """Whether values are as many as identifiers', names' or free text's."""
        return len(self.values) > MOST_LISTED or len(self.values) > max(12, self.filled / 10)

    @cached_property
    def listable(self) -> bool:
        """Whether values may be printed: few, none like an identifier's."""
        return not self.many and not any(self.looks_like(name) > 0.05 for name in PATTERNS)

    @property
    def words(self) -> str:
        """What the column holds, without a value of it."""
        if not self.values:
            return "empty"
        likeness = [name for name in PATTERNS if self.looks_like(name) > 0.5]
        if likeness:
            return f"looks like {_LIKENESS[likeness[0]]}"
        if len(self.values) == 1:
            return self._of_one_value
        return "many different values" if self.many else f"{len(self.values)} different values"

    @property
    def rows(self) -> int:
        """Rows of the sample, with a value or without."""
        return self.filled + self.missing

    @property
    def _of_one_value(self) -> str:
        if not self.missing:
            return "the same value in every row"
        words = f"one value, in {percent(self.filled / self.rows)} of the sampled rows"
        return f"{words}; perhaps a marker for [[exclude]]" if self.filled <= self.missing else words
