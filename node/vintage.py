"""The vintage of a snapshot: what a force declares about it, none of it read from the records."""

from __future__ import annotations

from dataclasses import dataclass

LOAD_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Vintage:
    """The label of a snapshot: everything that is declared about it, and what names its load."""

    dataset: str
    version: int
    contract: bytes
    """SHA-256 of the contract that the rows are coded by."""
    domain: str
    as_at: str
    first_month: str
    last_month: str
    max_age_days: int
    """After these days from `as_at` the node declines; 0 for never."""
    load_id: bytes
    """Random, new at each load, whether or not anything changed: it tells nothing."""
    note: str
