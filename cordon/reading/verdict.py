"""What reading a register comes to: discrepancies, and what cannot be judged yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from cordon.register.leaf import Checkpoint


class Check(StrEnum):
    """What is checked, in the words of a report."""

    REGISTER = "checkpoint, consistency and root"
    LEAVES = "form and signature of every leaf"
    MANIFESTS = "manifests, each by keys of the one before"
    QUERIES = "queries, decisions, rosters and ends"
    RECEIPTS = "receipts against query, roster and one another"
    BUDGETS = "spending against statements and ceilings"
    OPENINGS = "openings, embargoes and erasures"
    SUMS = "contributions added again"


@dataclass(frozen=True, order=True)
class Discrepancy:
    """Something that an honest register would not have."""

    leaf: int
    what: str
    check: Check
    evidence: tuple[tuple[str, bytes], ...] = field(default=(), compare=False)
    """(file name, content) of what shows it, beside the leaf itself."""


@dataclass(frozen=True, slots=True, order=True)
class Pending:
    """Something that an honest register may have for a short while."""

    leaf: int
    what: str


@dataclass(frozen=True, slots=True)
class Readded:
    """How many completed attempts' contributions were added again."""

    equal: int = 0
    gone: int = 0
    """Not kept any more."""
    waiting: int = 0
    """The source has none, or the query is not opened."""


@dataclass(frozen=True)
class Result:
    """What a reader has verified."""

    checkpoint: Checkpoint
    time: int
    """When the coordinator cosigned it, seconds since 1970-01-01 UTC."""
    origin: str
    new_leaves: int
    counts: dict[str, int]
    discrepancies: tuple[Discrepancy, ...]
    """By leaf; the first of them where there are very many."""
    found: dict[Check, int]
    """How many there are, by what was checked."""
    pending: tuple[Pending, ...]
    readded: Readded
