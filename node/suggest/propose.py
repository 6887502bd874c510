"""Which source column feeds which contract column: a proposal from names and values, each with its confidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cordon.contract import Category, Column, Contract, Identifier, Number
from node.suggest.codes import Confidence
from node.suggest.names import name_likeness, without_shared_beginning
from node.suggest.sample import ENOUGH, Sample
from node.suggest.values import Evidence, evidence

_NAME_WEIGHT = {"category": 0.55, "date": 0.5, "number": 0.75, "identifier": 0.6}
"""How much a name counts beside the values: numbers look alike, dates and codes do not."""

_LEAST = 0.45
"""Score below which nothing is proposed."""

_LEAST_NAME = 0.5
"""Likeness of names below which values alone must be telling."""

_SURE_NAME, _SURE_VALUES, _CLEAR = 0.95, 0.9, 0.15
_LIKELY = 0.7


@dataclass(frozen=True, slots=True)
class ColumnProposal:
    """One contract column and the source column that is proposed to feed it."""

    column: Column
    source: str
    score: float
    confidence: Confidence
    why: str
    found: Evidence


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A proposed mapping, for a person to confirm."""

    contract: Contract
    samples: Mapping[str, Sample]
    columns: tuple[ColumnProposal, ...]
    """In the contract's order."""

    @property
    def unmatched(self) -> tuple[Column, ...]:
        """Contract columns that nothing is proposed for: they would be unknown in every row."""
        fed = {proposal.column.name for proposal in self.columns}
        return tuple(column for column in self.contract.columns if column.name not in fed)

    @property
    def left_over(self) -> tuple[str, ...]:
        """Source columns that feed nothing: they never enter a snapshot."""
        feeding = {proposal.source for proposal in self.columns}
        return tuple(name for name in self.samples if name not in feeding)


@dataclass(frozen=True, slots=True)
class _Pair:
    column: Column
    source: str
    name: float
    name_why: str
    found: Evidence

    @property
    def score(self) -> float:
        weight = _NAME_WEIGHT[self.column.kind]
        if self.found.score is None:
            return 0.9 * self.name
        return weight * self.name + (1 - weight) * self.found.score

    @property
    def possible(self) -> bool:
        return (self.score >= _LEAST and self.name >= _LEAST_NAME) or _telling(self.column, self.found)


def _telling(column: Column, found: Evidence) -> bool:
    """Whether values say without a name what they are."""
    if isinstance(column, Number) or found.score is None:
        return False
    if isinstance(column, Category):
        meant = {code.code for code in found.codes if code.confidence is Confidence.SURE and not code.missing}
        return len(meant) >= 3 and found.score >= 0.9
    if isinstance(column, Identifier):
        return column.use == "linkage" and found.score >= 0.9
    return found.score >= 0.9


def suggest(contract: Contract, samples: Mapping[str, Sample]) -> Suggestion:
    """Propose a mapping of a source's columns, each used once at most.

    The pair that scores best is taken first, then the best of what is left; of equal pairs the one that comes first
    in the contract, and then by name. Pure: nothing is read but the samples.
    """
    parts = without_shared_beginning(tuple(samples))
    pairs = [
        _Pair(column, name, *name_likeness(parts[name], column), evidence(sample, column))
        for column in contract.columns
        for name, sample in samples.items()
    ]
    order = {column.name: at for at, column in enumerate(contract.columns)}
    taken: dict[str, _Pair] = {}
    used: set[str] = set()
    for pair in sorted(pairs, key=lambda pair: (-pair.score, -pair.name, order[pair.column.name], pair.source)):
        if pair.possible and pair.column.name not in taken and pair.source not in used:
            taken[pair.column.name] = pair
            used.add(pair.source)
    chosen = [taken[column.name] for column in contract.columns if column.name in taken]
    return Suggestion(contract, samples, tuple(_proposal(pair, pairs, samples) for pair in chosen))


def _proposal(pair: _Pair, pairs: list[_Pair], samples: Mapping[str, Sample]) -> ColumnProposal:
    others = [p.score for p in pairs if (p.column is pair.column) != (p.source == pair.source)]
    clear = pair.score - max(others, default=0.0) >= _CLEAR
    proven = pair.found.score is not None and samples[pair.source].filled >= ENOUGH
    confidence = Confidence.GUESS
    if pair.name >= _SURE_NAME and proven and (pair.found.score or 0.0) >= _SURE_VALUES and clear:
        confidence = Confidence.SURE
    elif pair.score >= _LIKELY and (pair.found.score is None or pair.found.score >= 0.5):
        confidence = Confidence.LIKELY
    rivals = "" if clear or confidence is Confidence.SURE else "; another column is nearly as like"
    why = f"{pair.name_why}; {pair.found.why}{rivals}" if pair.name >= _LEAST_NAME else f"{pair.found.why}{rivals}"
    return ColumnProposal(pair.column, pair.source, pair.score, confidence, why, pair.found)
