"""Which contract each kind of file is for, and which of its columns feed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node.opendata.download import Kind

LONDON = "Europe/London"


@dataclass(frozen=True, slots=True)
class OpenDataset:
    """How one kind of file becomes a data set."""

    dataset: str
    domain: str
    """Budget domain. An outcome is part of what is known of a crime: both draw on one budget."""

    columns: Mapping[str, str]
    """Contract column → the site's column."""

    zoned: frozenset[str] = frozenset()
    """Contract columns that are made from a time stamp in UTC."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that every file must have."""
        return tuple(dict.fromkeys(self.columns.values()))


DATASETS = {
    Kind.STREET: OpenDataset(
        "street_crime",
        "crime_records",
        {"month": "Month", "crime_type": "Crime type", "last_outcome": "Last outcome category"},
    ),
    Kind.OUTCOMES: OpenDataset("outcomes", "crime_records", {"month": "Month", "outcome_type": "Outcome type"}),
    Kind.STOPS: OpenDataset(
        "stop_search",
        "stop_records",
        {
            # The files have no month of their own, and their days are in UTC: the first hour of a month in summer
            # would fall into the month before.
            "month": "Date",
            "date": "Date",
            "type": "Type",
            "gender": "Gender",
            "age_range": "Age range",
            "self_defined_ethnicity": "Self-defined ethnicity",
            "officer_defined_ethnicity": "Officer-defined ethnicity",
            "legislation": "Legislation",
            "object": "Object of search",
            "outcome": "Outcome",
            "outcome_linked": "Outcome linked to object of search",
            "clothing_removed": "Removal of more than just outer clothing",
        },
        frozenset({"month", "date"}),
    ),
}
