"""The cells of an answer as groups' records in places, with the noise of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cordon.analyst.rows import Estimate, Row
from cordon.contract import FORCE
from cordon.errors import Refused
from cordon.estimate.interval import REACH_95
from cordon.workbench.answer import Answer
from cordon.workbench.disparity.effects import Array, Side
from cordon.workbench.disparity.statement import RECORDS, RESIDENTS, WITH, WITHOUT, Per, Wanted


@dataclass(frozen=True)
class Cells:
    """Records of every group in every place; arrays are shaped (places, groups)."""

    places: tuple[str | None, ...]
    """Forces that answered, and None for all of them together, which stands last."""
    groups: tuple[str, ...]
    """Codes, the reference among them."""
    known: Side
    unknown: Side
    """Records whose group nobody knows, shaped (places, 1); without residents."""
    absent: Mapping[str, str]
    """Forces with a line of their own that are not in the answer, each with the reason."""

    def group(self, code: str) -> Side:
        """One group in every place."""
        at = self.groups.index(code)
        return picked(self.known, lambda array: array[:, at])


@dataclass(frozen=True, slots=True)
class _Cell:
    """Of one group in one place: sums of noised cells, and of their variances."""

    hits: float = 0.0
    hits_variance: float = 0.0
    rest: float = 0.0
    rest_variance: float = 0.0
    residents: float | None = None
    """NaN where nobody has counted them."""

    def plus(self, other: _Cell) -> _Cell:
        """Both together."""
        return _Cell(
            self.hits + other.hits,
            self.hits_variance + other.hits_variance,
            self.rest + other.rest,
            self.rest_variance + other.rest_variance,
            _sum(self.residents, other.residents),
        )


def cells_of(answer: Answer, asked: Wanted) -> Cells:
    """Read an answer to `asked.sql`, or to a question of the same columns.

    Raises:
        Refused: nobody has answered, or the answer holds nothing that can be compared.
    """
    found, absent = _gathered(answer, asked)
    forces = sorted({force for force, _ in found if force is not None})
    if not found:
        raise Refused("no force answered, so there is nothing to compare")
    if asked.per is Per.RECORDS and not all(
        map(any, zip(*((c.hits_variance, c.rest_variance) for c in found.values()), strict=True))
    ):
        raise Refused(f"the answer tells records with and without {', '.join(asked.outcome_labels)} not apart")
    missing = [asked.label(code.code) for code in asked.by.codes if code.code not in asked.groups]
    labels = {code: asked.label(code) for code in asked.groups if any(asked.label(code) == of for _, of in found)}
    if asked.reference not in labels:
        raise Refused(
            f"the answer has no records of {asked.label(asked.reference)}, which the others are compared with"
        )
    places: list[str | None] = [*forces, None] if asked.by_force else [None]
    if asked.by_force:
        for label in (*labels.values(), *missing):
            found[None, label] = _total(found[force, label] for force in forces if (force, label) in found)
    known = [[found.get((place, label), _Cell()) for label in labels.values()] for place in places]
    unknown = [[_total(found[place, label] for label in missing if (place, label) in found)] for place in places]
    return Cells(tuple(places), tuple(labels), _side(known, asked), _side(unknown, asked, residents=False), absent)


def picked(side: Side, of: Callable[[Array], Array]) -> Side:
    """The same of every array of a side."""

    def perhaps(array: Array | None) -> Array | None:
        return None if array is None else of(array)

    return Side(
        of(side.hits), of(side.hits_off), perhaps(side.rest), perhaps(side.rest_off), perhaps(side.residents), side.rows
    )


def _gathered(answer: Answer, asked: Wanted) -> tuple[dict[tuple[str | None, str], _Cell], dict[str, str]]:
    found: dict[tuple[str | None, str], _Cell] = {}
    absent: dict[str, str] = {}
    for row in answer.rows:
        keys = dict(zip(answer.keys, row.keys, strict=True))
        force, group = (keys.get(FORCE), keys[asked.by.name])
        if not row.values:
            absent[str(force)] = row.note
        elif group is not None and not (asked.by_force and force is None):
            at = (force if asked.by_force else None, group)
            found[at] = _total(cell for cell in (found.get(at), _cell(row, keys, answer, asked)) if cell is not None)
    return found, absent


def _cell(row: Row, keys: Mapping[str, str | None], answer: Answer, asked: Wanted) -> _Cell:
    values = dict(zip(answer.measures, row.values, strict=True))
    if asked.per is Per.POPULATION:
        return _Cell(*_noised(values[RECORDS]), residents=values[RESIDENTS].value)
    if RECORDS not in values:
        return _Cell(*_noised(values[WITH]), *_noised(values[WITHOUT]))
    assert asked.outcome is not None  # noqa: S101 - a share of records has one
    is_hit = keys[asked.outcome.name] in asked.outcome_labels
    return _Cell(*_noised(values[RECORDS])) if is_hit else _Cell(0.0, 0.0, *_noised(values[RECORDS]))


def _noised(value: Estimate) -> tuple[float, float]:
    """A count and the variance of its noise, from its interval."""
    return value.value, ((value.high - value.low) / 2 / REACH_95) ** 2


def _total(cells: Iterator[_Cell]) -> _Cell:
    found = _Cell()
    for cell in cells:
        found = found.plus(cell)
    return found


def _sum(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other


def _side(cells: list[list[_Cell]], asked: Wanted, *, residents: bool = True) -> Side:
    def array(of: Callable[[_Cell], float]) -> Array:
        return np.array([[of(cell) for cell in row] for row in cells], dtype=np.float64)

    rows = float(asked.rows)
    hits, hits_off = array(lambda cell: cell.hits), np.sqrt(array(lambda cell: cell.hits_variance))
    if asked.per is Per.POPULATION:
        return Side(
            hits,
            hits_off,
            residents=array(lambda cell: math.nan if cell.residents is None else cell.residents) if residents else None,
            rows=rows,
        )
    return Side(
        hits, hits_off, array(lambda cell: cell.rest), np.sqrt(array(lambda cell: cell.rest_variance)), rows=rows
    )
