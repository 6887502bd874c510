"""How sure the places of an ordered answer are, on draws made by hand."""

import math

import numpy as np

from cordon.estimate.rank import rank_probabilities


def test_a_place_is_as_sure_as_the_draws_that_keep_it():
    """Of four draws, all keep the first row first and two exchange the others."""
    draws = np.array([[9, 5, 4], [8, 5, 3], [9, 4, 6], [9, 1, 2]], dtype=float)
    assert rank_probabilities(draws, descending=True).tolist() == [1, 0.5, 0.5]


def test_ascending_is_descending_of_the_negatives():
    """The least value stands first where the order ascends."""
    draws = np.array([[1, 2, 3], [2, 1, 3]], dtype=float)
    assert rank_probabilities(draws, descending=False).tolist() == [0.5, 0.5, 1]
    assert rank_probabilities(-draws, descending=True).tolist() == [0.5, 0.5, 1]


def test_equal_values_stand_in_their_shown_order():
    """Ties are no doubt: nothing says that the other order would be right."""
    assert rank_probabilities(np.full((3, 4), 7.0), descending=True).tolist() == [1, 1, 1, 1]


def test_rows_without_a_value_stand_last_in_either_direction():
    """A row that a draw gives no value is counted behind all that have one."""
    draws = np.array([[math.nan, 3, 2], [5, 3, 2]], dtype=float)
    assert rank_probabilities(draws, descending=True).tolist() == [0.5, 0.5, 0.5]
    draws = np.array([[1, 2, math.nan], [1, 2, math.nan]], dtype=float)
    assert rank_probabilities(draws, descending=False).tolist() == [1, 1, 1]


def test_infinite_values_have_a_place():
    """A ratio whose drawn denominator vanished stands at its end, and raises nothing."""
    draws = np.array([[math.inf, 3, -math.inf]])
    assert rank_probabilities(draws, descending=True).tolist() == [1, 1, 1]


def test_a_draw_in_which_one_row_moves_through_moves_every_place():
    """A row drawn from last to first leaves nobody at the place that was shown."""
    assert rank_probabilities(np.array([[3.0, 2.0, 1.0, 4.0]]), descending=True).tolist() == [0, 0, 0, 0]
