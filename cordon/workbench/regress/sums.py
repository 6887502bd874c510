"""The sums of a model as numbers: read from an answer, with the deviation of each one's noise.

With z = (1, one for each level but the reference, the numbers less their centres) and the response v, everything
that least squares need is the matrix Σ (z, v)(z, v)'. It is linear in what was released, cell by cell, so that what
the noise of each released value does to it is known exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from cordon.analyst.rows import Row
from cordon.errors import Refused
from cordon.estimate.interval import REACH_95
from cordon.workbench.answer import Answer
from cordon.workbench.regress.model import Condition, Group, Model, Moment
from cordon.workbench.regress.statement import column_of, offset_of

Array = npt.NDArray[np.float64]

FEWEST_ROWS = 5.0
"""Deviations of its noise that a level's count must exceed: a smaller level is left out."""


@dataclass(frozen=True)
class Sums:
    """What was released of a model, cell by cell; a cell is one level of every category."""

    model: Model
    groups: tuple[Group, ...]
    """With the levels that are fitted; of a category without two levels nothing is left."""
    levels: Array
    """Shape (cells, 1 + levels but the references): the part of z that all rows of a cell share."""
    released: Mapping[Moment, Array]
    """Shape (cells,), in the units of the numbers; squares less their offset."""
    deviations: Mapping[Moment, Array]
    left_out: tuple[str, ...] = ()
    """Levels with too few rows to tell, in words."""

    @property
    def size(self) -> int:
        """Variables: of z, and the response."""
        return int(self.levels.shape[1]) + len(self.model.numbers) + 1

    @property
    def rows(self) -> float:
        """Estimated rows."""
        return float(self.released[Moment()].sum())

    def times(self, moment: Moment, vector: Array) -> Array:
        """What one unit of a released value adds to the matrix, times a vector, in every cell.

        Args:
            vector: shape (size,) or (cells, size).

        Returns:
            Shape (cells, size).
        """
        count, first = self.levels.shape
        given = np.broadcast_to(vector, (count, self.size))
        shared = (self.levels * given[:, :first]).sum(axis=1)
        found = np.zeros((count, self.size))
        if not moment.of:
            found[:, :first] = self.levels * shared[:, None]
            found[:, first:] = self._offsets * given[:, first:]
            return found
        places = [first + at for at in moment.of]
        if len(places) == 1:
            found[:, :first] = self.levels * given[:, places]
            found[:, places[0]] = shared
        if len(places) == 2 and places[0] != places[1]:
            found[:, places] = given[:, places[::-1]]
        if len(set(places)) == 1 and (len(places) == 2 or moment.within):
            # A response of 0 or 1 is its own square.
            found[:, places[0]] += given[:, places[0]]
        return found

    @property
    def _offsets(self) -> Array:
        """What a row adds to each variable's square besides what was released; nothing for a condition's."""
        offsets = [float(offset_of(quantity)) for quantity in self.model.quantities]
        return np.array([*offsets, *([0.0] if isinstance(self.model.response, Condition) else [])])

    def matrix(self) -> Array:
        """Σ (z, v)(z, v)', as released."""
        found = np.zeros((self.size, self.size))
        for place, unit in enumerate(np.eye(self.size)):
            for moment, values in self.released.items():
                found[place] += values @ self.times(moment, unit)
        return found


def read_sums(answer: Answer, model: Model) -> Sums:
    """The sums of a model in an answer, which may also hold those of a larger one.

    By the names of its columns: `matching.narrowed` says whether they are what the names say.

    Raises:
        Refused: the answer lacks one of them, or has too few rows for the noise.
    """
    names = {moment: column_of(moment, model) for moment in model.moments}
    keys, measures = list(answer.keys), list(answer.measures)
    lacks = [name for name in names.values() if name not in measures]
    lacks += [group.name for group in model.groups if group.name not in keys]
    if lacks:
        raise Refused(
            f"the answer of query {answer.query_id[:16]} has no {', '.join(lacks)}",
            hint="a formula can be fitted from its own answer, or from that of one with more terms",
        )
    places = [keys.index(group.name) for group in model.groups]
    cells = _cells(
        [row for row in answer.rows if row.values], places, [measures.index(name) for name in names.values()]
    )
    groups, left_out = _large_enough(model.groups, cells)
    wanted = list(product(*(group.levels for group in groups)))
    kept = _kept(groups, cells)
    empty = (np.zeros(len(names)), np.zeros(len(names)))
    # A cell of several categories that the axes hold is in the answer also where nobody is in it.
    found = [kept.get(cell, empty) for cell in wanted]
    values, variances = (np.array([pair[part] for pair in found]) for part in (0, 1))
    fitted = tuple(group for group in groups if len(group.levels) > 1)
    return Sums(
        model,
        fitted,
        _indicators(groups, wanted),
        {moment: values[:, at] for at, moment in enumerate(names)},
        {moment: np.sqrt(variances[:, at]) for at, moment in enumerate(names)},
        tuple(left_out),
    )


_Cells = dict[tuple[str, ...], tuple[Array, Array]]
"""By the levels of every category of the model: values and variances of its sums."""


def _cells(rows: Sequence[Row], places: Sequence[int], columns: Sequence[int]) -> _Cells:
    """The answer's cells, added up over categories that the model does not have."""
    found: _Cells = {}
    for row in rows:
        # Totals of a table with totals are no cells.
        if None in row.keys:
            continue
        levels = tuple(str(row.keys[place]) for place in places)
        values = np.array([row.values[at].value for at in columns])
        ends = np.array([row.values[at].high - row.values[at].low for at in columns])
        variances = (ends / 2 / REACH_95) ** 2
        before = found.get(levels)
        found[levels] = (values, variances) if before is None else (before[0] + values, before[1] + variances)
    return found


def _large_enough(groups: Sequence[Group], cells: _Cells) -> tuple[list[Group], list[str]]:
    """The groups with the levels that have rows enough, the reference first; and the others in words."""
    kept, left_out = [], []
    for place, group in enumerate(groups):
        present = [level for level in group.levels if any(cell[place] == level for cell in cells)]
        large = [level for level in present if _is_large(level, place, cells)]
        if group.chosen and group.levels[0] not in large:
            raise Refused(
                f"{group.name} {group.levels[0]} has too few rows to compare others with",
                hint=f"another reference, or none: --reference {group.name}=…",
            )
        if not large:
            raise Refused("too noisy to fit: no level has rows enough", hint="ask with a larger --epsilon")
        left_out += [f"{level} ({group.name})" for level in present if level not in large]
        kept.append(Group(group.name, tuple(large), chosen=group.chosen))
    return kept, left_out


def _is_large(level: str, place: int, cells: _Cells) -> bool:
    own = [of for cell, of in cells.items() if cell[place] == level]
    rows, variance = sum(values[0] for values, _ in own), sum(variances[0] for _, variances in own)
    return bool(rows > FEWEST_ROWS * np.sqrt(variance))


def _kept(groups: Sequence[Group], cells: _Cells) -> _Cells:
    allowed = [set(group.levels) for group in groups]
    return {
        cell: of for cell, of in cells.items() if all(level in of_ for level, of_ in zip(cell, allowed, strict=True))
    }


def _indicators(groups: Sequence[Group], cells: Sequence[tuple[str, ...]]) -> Array:
    columns = [np.ones(len(cells))]
    for place, group in enumerate(groups):
        columns += [np.array([float(cell[place] == level) for cell in cells]) for level in group.levels[1:]]
    return np.column_stack(columns)
