"""An answer's tables: what is shown, its intervals, its draws, and forces that did not answer."""

import math

import numpy as np
import pytest

from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from cordon.estimate import consistent
from cordon.estimate.interval import REACH_95
from cordon.estimate.tables import Tables, expected_deviations
from cordon.query.expression import Part, leaves
from cordon.query.plan import make_plan, outline
from cordon.query.split import split
from cordon.query.sql import parse_sql
from cordon.units import Rho

CONTRACTS = {contract.dataset: contract for contract in map(Contract.from_toml, bundled_contracts())}
NOMINALS = CONTRACTS["nominals"]
FORCES = ("cumbria", "durham", "essex", "kent", "surrey")
COLLUDERS = 2
RHO = Rho(10**8)


def planned(sql, rho=RHO):
    """A statement's plan, and the expressions of its columns."""
    statement = parse_sql(sql, CONTRACTS, FORCES)
    outlined = outline(statement.question, NOMINALS, most_cells=50_000)
    columns = [output.expression for output in statement.outputs if output.expression is not None]
    shares = split(rho, outlined, columns, [1] * len(columns), NOMINALS)
    return make_plan(statement.question, shares, NOMINALS, colluders=COLLUDERS, most_cells=50_000), columns


def released(plan, answered, *, rate, seed):
    """Opened cells: about `rate` records in each row of a table by all keys, and the planned noise."""
    generator = np.random.default_rng(seed)
    opened = []
    for block in plan.blocks:
        mean = rate * len(plan.rows) / len(plan.rows_of(block.keys))
        noise = block.sigma(answered, COLLUDERS) * generator.standard_normal(block.cells)
        opened += [round(cell * block.scale) for cell in generator.poisson(mean, block.cells) + noise]
    return opened


ROLLUP = "SELECT force, role, COUNT(*), AVG(age), SUM(loss_gbp) FROM nominals GROUP BY ROLLUP (force, role)"


def test_shown_counts_add_up_and_are_not_below_zero():
    """Every coarser table is the sum of the finer ones, in sparse tables too, and raw values are as released."""
    plan, (count, *_) = planned(ROLLUP)
    opened = released(plan, 5, rate=1, seed=1)
    tables = Tables(opened, plan, NOMINALS, FORCES)
    fine, coarse, total = (tables.cells(keys, count) for keys in plan.question.tables)
    assert tables.consistent
    assert (fine.value >= 0).all()
    assert np.allclose(fine.value.reshape(len(FORCES), -1).sum(axis=1), coarse.value)
    assert coarse.value.sum() == pytest.approx(total.value[0])
    first = plan.blocks[0]
    assert np.allclose(fine.raw, [cell / first.scale for cell in opened[first.start : first.start + first.cells]])


@pytest.mark.parametrize("seed", range(3))
def test_an_interval_holds_what_is_shown(seed):
    """Also where non-negative counts moved an average or a sum away from the fitted one; bounds are in order."""
    plan, columns = planned(ROLLUP, Rho(10**6))
    tables = Tables(released(plan, 5, rate=3, seed=seed), plan, NOMINALS, FORCES)
    for keys in plan.question.tables:
        for column in columns:
            found = tables.cells(keys, column)
            known = ~np.isnan(found.value)
            assert (found.low[known] <= found.value[known]).all()
            assert (found.value[known] <= found.high[known]).all()
            assert (found.low <= found.high).all()


def test_an_average_over_a_shown_count_of_zero_has_no_value():
    """A count that was made zero gives NaN and not a bound of the column; its interval is the column's bounds."""
    plan, columns = planned(ROLLUP, Rho(10**6))
    tables = Tables(released(plan, 5, rate=0, seed=4), plan, NOMINALS, FORCES)
    age = columns[1]
    rows = next(leaf for leaf in leaves(age) if not plan.question.measures[leaf.measure].column)
    shown, average = tables.cells((0, 1), rows), tables.cells((0, 1), age)
    empty = shown.value == 0
    assert empty.any()
    assert np.isnan(average.value[empty]).all()
    assert ((average.low >= 0) & (average.high <= 110)).all()


def test_forces_that_did_not_answer_are_left_out_of_every_fit():
    """Their rows are NaN in every column and draw; the others are those of a fit without them."""
    plan, columns = planned(ROLLUP)
    answered = ("cumbria", "essex", "kent")
    tables = Tables(released(plan, 3, rate=1000, seed=2), plan, NOMINALS, answered)
    there = np.array([force in answered for force in FORCES])
    for column in columns:
        by_force = tables.cells((0,), column)
        assert np.isnan(by_force.value).tolist() == (~there).tolist()
        assert np.isnan(by_force.raw).tolist() == (~there).tolist()
        assert np.isnan(tables.draws((0,), column, count=200, seed=1)).all(axis=0).tolist() == (~there).tolist()
        assert np.isfinite(tables.cells((), column).value).all()
    raw = {keys: tables.cells(keys, columns[0]).raw for keys in plan.question.tables}
    roles = len(raw[0, 1]) // len(FORCES)
    present = {(0, 1): raw[0, 1].reshape(-1, roles)[there], (0,): raw[0,][there], (): raw[()][0]}
    deviations = {block.keys: block.sigma(3, COLLUDERS) for block in plan.blocks if block.measure.kind.name == "COUNT"}
    fitted = consistent.fit(present, {keys: deviation**2 for keys, deviation in deviations.items()}, [3, roles])
    assert tables._marginals[0].fitted[0,][there] == pytest.approx(fitted[0,])


def test_rows_of_absent_forces_are_unknown_in_a_single_table_and_in_quantiles():
    """Without other tables to agree with, what such a row holds is nothing but noise, and is not shown either."""
    plan, (count, median) = planned("SELECT force, COUNT(*), MEDIAN(age) FROM nominals GROUP BY force")
    tables = Tables(released(plan, 4, rate=40, seed=3), plan, NOMINALS, FORCES[1:])
    assert not tables.consistent
    for column in (count, median):
        assert np.isnan(tables.cells((0,), column).value).tolist() == [True, False, False, False, False]
        assert np.isnan(tables.draws((0,), column, count=200, seed=1)[:, 0]).all()


def test_draws_lie_around_the_fitted_estimates_and_add_up():
    """20,000 draws of each cell have the fitted deviation to 3 %, and every draw of a total is the sum of its parts."""
    plan, (count, *_) = planned(ROLLUP)
    tables = Tables(released(plan, 5, rate=1000, seed=5), plan, NOMINALS, FORCES)
    fine = tables.draws((0, 1), count, count=20_000, seed=9)
    total = tables.draws((), count, count=20_000, seed=9)
    assert np.allclose(fine.sum(axis=1), total[:, 0])
    found = tables.cells((0, 1), count)
    deviation = (found.high - found.low)[0] / 2 / REACH_95
    assert np.allclose(fine.std(axis=0), deviation, rtol=0.03)
    assert np.allclose(fine.mean(axis=0), (found.low + found.high) / 2, atol=5 * deviation / math.sqrt(20_000))


def test_draws_of_one_seed_are_the_same_each_time():
    """Probabilities of one answer do not change between two looks at it; another seed gives other draws."""
    plan, (median,) = planned("SELECT role, MEDIAN(age) FROM nominals GROUP BY role")
    tables = Tables(released(plan, 5, rate=20, seed=6), plan, NOMINALS, FORCES)
    first, again, other = (tables.draws((0,), median, count=300, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_distinct_persons_are_left_as_they_were_released():
    """COUNT(DISTINCT person) adds up over nothing but forces, and is not made to agree."""
    plan, (persons, count) = planned(
        "SELECT role, COUNT(DISTINCT person), COUNT(*) FROM nominals GROUP BY ROLLUP (role)"
    )
    tables = Tables(released(plan, 5, rate=0, seed=7), plan, NOMINALS, FORCES)
    found = tables.cells((0,), persons)
    assert np.array_equal(found.value, found.raw)
    assert not np.array_equal(tables.cells((0,), count).value, tables.cells((0,), count).raw)


def test_expected_deviations_are_those_of_the_intervals():
    """What is expected of a count before anything was opened is what its interval then shows."""
    plan, (count, *_) = planned(ROLLUP)
    assert isinstance(count, Part)
    for keys in plan.question.tables:
        expected = expected_deviations(plan, keys, NOMINALS, leaves(count), np.array([100.0]))[count]
        found = Tables(released(plan, 5, rate=1000, seed=8), plan, NOMINALS, FORCES).cells(keys, count)
        assert expected[0] == pytest.approx((found.high[0] - found.low[0]) / 2 / REACH_95)


def test_an_expected_quantile_is_nearer_the_more_rows_there_are():
    """Ten times the rows, a tenth of the deviation."""
    plan, (median,) = planned("SELECT MEDIAN(age) FROM nominals")
    found = expected_deviations(plan, (), NOMINALS, leaves(median), np.array([100.0, 1000.0]))
    (deviations,) = found.values()
    assert deviations[0] == pytest.approx(10 * deviations[1])
