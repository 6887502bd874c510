"""How a question's cost is shared out over its blocks: exactly, and for the narrowest intervals."""

from fractions import Fraction
from itertools import chain, combinations

import numpy as np
import pytest
from examples import person_contract
from hypothesis import given, settings
from hypothesis import strategies as st

from cordon.errors import QuestionRefused
from cordon.query.expression import Arithmetic, Constant, Part, Quantile
from cordon.query.model import Grain, Grouping, Key, Measure, MeasureKind, Question, Range
from cordon.query.plan import make_plan, outline
from cordon.query.split import best_table_shares, split
from cordon.units import Rho

COUNT = Measure(MeasureKind.COUNT)
KNOWN = Measure(MeasureKind.COUNT, where=Range("loss", None, None))
LOSS = Measure(MeasureKind.SUM, "loss")
FROM_MIDDLE = Measure(MeasureKind.SUM, "loss", centre=40)
HISTOGRAM = Measure(MeasureKind.HISTOGRAM, "loss", widths=(1, 10))
FORCES = ("essex", "kent", "surrey")
RHO = Rho(10**8)
AVERAGE = Arithmetic("+", Constant(Fraction(40)), Arithmetic("/", Part(1), Part(0)))


def outlined(*measures, keys=(), groupings=()):
    """The outline of a question over persons."""
    question = Question("persons", 1, measures, None, keys, FORCES, groupings)
    return outline(question, person_contract(), most_cells=10_000)


def shares(measures, expressions, weights=None, **asked):
    """What each part of a question may spend, as shares of the whole."""
    found = split(RHO, outlined(*measures, **asked), expressions, weights or [1] * len(expressions), person_contract())
    return [rho.nano / (RHO.nano - 1) for rho in found]


def test_equal_columns_get_equal_shares():
    """A count and a sum are asked for alike, whatever their units."""
    assert shares((COUNT, LOSS), (Part(0), Part(1))) == pytest.approx([0.5, 0.5])


def test_shares_follow_the_roots_of_the_weights():
    """Four times the weight on one of two columns gets twice the share."""
    assert shares((COUNT, LOSS), (Part(0), Part(1)), [4, 1]) == pytest.approx([2 / 3, 1 / 3])


def test_an_average_gives_its_count_less_than_its_sum():
    """The count's noise matters only as far as the mean lies from the middle of the range: 1 to √3."""
    count, total = shares((KNOWN, FROM_MIDDLE), (AVERAGE,))
    assert total / count == pytest.approx(3**0.5, rel=0.05)


def test_what_two_columns_share_gets_more():
    """A count that is shown beside the average that needs it is paid for once."""
    alone = shares((KNOWN, FROM_MIDDLE), (AVERAGE,))
    beside = shares((KNOWN, FROM_MIDDLE), (AVERAGE, Part(0)))
    assert beside[0] > alone[0]
    assert sum(beside) == pytest.approx(1)


def test_a_histograms_widths_get_equal_shares():
    """One share for each width, together as much as the column deserves."""
    found = shares((COUNT, HISTOGRAM), (Part(0), Quantile(1, Fraction(1, 2))))
    assert found == pytest.approx([0.5, 0.25, 0.25])


def test_a_measure_that_no_column_depends_on_is_still_released():
    """Every part gets at least one nano-rho, also one whose error nothing shows."""
    found = split(RHO, outlined(COUNT, LOSS), (Part(0),), [1], person_contract())
    assert all(rho.nano >= 1 for rho in found)


@settings(max_examples=60, deadline=None)
@given(
    nano=st.integers(10, 2**61),
    weights=st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3),
    sets=st.sets(st.sampled_from([(), (0,), (1,), (0, 1)]), min_size=2).filter(lambda s: {0, 1} <= set(chain(*s))),
)
def test_the_shares_add_up_to_the_cost_less_its_margin(nano, weights, sets):
    """To the last nano-rho, so that every node accepts them; otherwise the question is refused."""
    keys = (Key("role"), Key("day", Grain.QUARTER))
    made = outlined(COUNT, LOSS, KNOWN, keys=keys, groupings=tuple(Grouping(keys) for keys in sorted(sets)))
    try:
        found = split(Rho(nano), made, (Part(0), Part(1), Part(2)), weights, person_contract())
    except QuestionRefused:
        assert nano - 1 < len(made.parts)
        return
    assert sum(rho.nano for rho in found) == nano - 1
    assert all(rho.nano >= 1 for rho in found)
    assert make_plan(made.question, found, person_contract(), colluders=1, most_cells=10_000).blocks


# Tables that are made to agree


def mean_variances(tables, sizes, shares):
    """Each table's mean variance after weighted least squares, by dense linear algebra."""
    cells = int(np.prod(sizes))
    grid = np.indices(sizes).reshape(len(sizes), cells)
    designs = []
    for keys in tables:
        names = list(zip(*(grid[at] for at in keys), strict=True)) if keys else [()] * cells
        kinds = sorted(set(names))
        designs.append(np.array([[float(name == kind) for name in names] for kind in kinds]))
    precision = sum(share * design.T @ design for share, design in zip(shares, designs, strict=True))
    covariance = np.linalg.pinv(precision)
    return [float(np.mean(np.diag(design @ covariance @ design.T))) for design in designs]


CUBE = [tuple(c) for r in (2, 1, 0) for c in combinations(range(2), r)]


@pytest.mark.parametrize(
    ("tables", "sizes"),
    [([(0, 1), (0,), ()], (4, 6)), (CUBE, (3, 5)), ([(0,), (1,)], (3, 4)), ([(0,), ()], (7,))],
    ids=["rollup", "cube", "no full table", "one key"],
)
def test_no_other_shares_make_the_tables_more_exact(tables, sizes):
    """Of 200 random splits and the even one, none has a lower sum of mean variances, by another way of computing it."""
    source = np.random.default_rng(1)
    best = sum(mean_variances(tables, sizes, best_table_shares(tables, sizes)))
    others = [np.full(len(tables), 1 / len(tables)), *source.dirichlet(np.ones(len(tables)), 200)]
    assert all(best <= sum(mean_variances(tables, sizes, other)) * (1 + 1e-6) for other in others)


def test_a_coarse_table_gets_more_where_the_fine_one_is_finer():
    """A total over 500 cells can be had from them only with 500 times the variance."""
    few, many = (best_table_shares([(0,), ()], [size])[1] for size in (2, 500))
    assert few < many
