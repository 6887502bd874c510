"""How much rows can scatter beyond what a model's sums tell: what is alike of one person, and shares along a line."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cordon.contract import Contract
from cordon.workbench.regress.model import Condition, Quantity
from cordon.workbench.regress.sums import Sums

Array = npt.NDArray[np.float64]


def rows_alike(contract: Contract) -> int:
    """By how much the variance of a sum over rows can exceed that of independent rows.

    The square of a sum of at most k parts is at most k times the sum of their squares (Cauchy-Schwarz): one person's
    rows come to no more, however alike they are.
    """
    return contract.unit.max_rows_per_unit if contract.unit.kind == "person" else 1


def largest_scatters(sums: Sums, solved: Array) -> Array:
    """In every cell the largest variance p(1 - p) that a share p has along the line, within the numbers' bounds.

    Where the response is a condition, rows scatter by their share, and so by their numbers. Of anything else this is
    not known, and zero.

    Args:
        solved: coefficients of the levels, then of the numbers.
    """
    model, first = sums.model, sums.levels.shape[1]
    found = np.zeros(len(sums.levels))
    if not isinstance(model.response, Condition) or not model.numbers:
        return found
    middle = sums.levels @ solved[:first]
    ends = np.array([slope * _ends(number) for number, slope in zip(model.numbers, solved[first:], strict=True)])
    low, high = (np.clip(middle + of, 0.0, 1.0) for of in (ends.min(axis=1).sum(), ends.max(axis=1).sum()))
    nearest = np.clip(0.5, low, high)
    found += nearest * (1 - nearest)
    return found


def _ends(number: Quantity) -> Array:
    """A number's bounds less its centre."""
    return np.array([float(of - number.centre) for of in (number.column.low, number.column.high)]) * float(
        number.column.resolution
    )
