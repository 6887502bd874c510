"""How sure the places of an ordered answer are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def rank_probabilities(draws: Array, *, descending: bool) -> Array:
    """The probability that each row's place is right.

    Args:
        draws: of every row's value, given the noised ones: shape (draws, rows), rows in their shown order.
        descending: whether the largest stands first.

    Returns:
        Share of the draws in which as many rows stand before a row as are shown before it: shape (rows,).
    """
    values = -draws if descending else draws
    places = np.argsort(np.argsort(np.where(np.isnan(values), np.inf, values), axis=1, kind="stable"), axis=1)
    return np.asarray((places == np.arange(draws.shape[1])).mean(axis=0))
