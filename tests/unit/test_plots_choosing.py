"""Which picture an answer becomes, and that it shows the answer's values and nothing else."""

import json
import math
from pathlib import Path

import pytest
from pictures import answer, value

from cordon.analyst.render import too_noisy
from cordon.analyst.rows import Estimate
from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.captions import captions_of, who_answered
from cordon.workbench.choosing import (
    ALL,
    MOST_ACROSS,
    MOST_LINES,
    MOST_PANELS,
    MOST_PLACES,
    NOT_SHOWN,
    drawing_of,
    mark_of,
)
from cordon.workbench.drawing import Bars, HeatMap, Lines, Panels, Quantiles
from cordon.workbench.periods import are_periods, in_order
from cordon.workbench.selected import Quantile, quantiles_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def shown(marks):
    """What marks say, where they say anything."""
    return {mark.label: (mark.estimate, mark.low, mark.high) for mark in marks if not mark.is_absent}


def test_one_key_is_bars_in_the_answers_own_order_and_its_total_is_set_apart():
    """A ROLLUP's total is no bar among those that it adds up."""
    rows = [(("White",), [value(900)]), (("Black",), [value(300)]), ((None,), [value(1200, 14)])]
    drawing = drawing_of(answer("SELECT e, COUNT(*) AS n FROM s GROUP BY ROLLUP(e)", ["e"], ["n"], rows))
    assert isinstance(drawing, Bars)
    (series,) = drawing.series
    assert [mark.label for mark in series.marks] == ["White", "Black"]
    assert shown(series.marks) == {"White": (900, 890, 910), "Black": (300, 290, 310)}
    assert drawing.totals is not None
    assert shown(drawing.totals.marks) == {ALL: (1200, 1186, 1214)}
    assert drawing.measure == "n"


def test_no_key_is_a_single_mark():
    """One number is drawn with its interval too."""
    drawing = drawing_of(answer("SELECT COUNT(*) AS n FROM s", [], ["n"], [((), [value(7)])]))
    assert isinstance(drawing, Bars)
    assert [shown(series.marks) for series in drawing.series] == [{"": (7, -3, 17)}]
    assert drawing.series[0].marks[0].noisy
    assert drawing.totals is None


def test_dates_are_lines_with_every_month_between_and_a_gap_where_there_is_no_row():
    """A month that HAVING has left out is neither zero nor skipped, whatever the order of the rows."""
    months = ["2020-02", "2019-11", "2020-01"]
    rows = [((month, group), [value(at + 100)]) for at, month in enumerate(months) for group in ("a", "b")]
    drawing = drawing_of(answer("SELECT month, g, COUNT(*) AS n FROM s GROUP BY 1, 2", ["month", "g"], ["n"], rows))
    assert isinstance(drawing, Lines)
    assert [series.name for series in drawing.series] == ["a", "b"]
    marks = drawing.series[1].marks
    assert [mark.label for mark in marks] == ["2019-11", "2019-12", "2020-01", "2020-02"]
    assert marks[1].is_absent
    assert marks[1].note == NOT_SHOWN
    assert [mark.estimate for mark in marks if not mark.is_absent] == [101, 102, 100]


def test_a_force_and_another_key_are_a_heat_map_in_which_an_absent_force_is_absent():
    """Whoever did not answer has a row without values that says why."""
    rows = [(("essex", "x"), [value(50)]), (("essex", "y"), [value(3)]), (("surrey", "x"), "did not answer")]
    rows.append((("surrey", "y"), "did not answer"))
    asked = answer("SELECT …", ["where", "g"], ["n"], rows, absent={"surrey": "silent"})
    drawing = drawing_of(asked)
    assert isinstance(drawing, HeatMap)
    assert [row.name for row in drawing.rows] == ["essex", "surrey"]
    assert [mark.noisy for mark in drawing.rows[0].marks] == [False, True]
    assert all(mark.is_absent and mark.note == "did not answer" for mark in drawing.rows[1].marks)


def test_two_other_keys_are_grouped_bars_while_few_and_a_heat_map_when_many():
    """What one could not tell apart side by side is a map, with the longer key downwards."""
    few = [((a, g), [value(10)]) for a in ("10-17", "18-24", "25-34") for g in ("f", "m")]
    drawing = drawing_of(answer("SELECT …", ["age", "g"], ["n"], few))
    assert isinstance(drawing, Bars)
    assert [series.name for series in drawing.series] == ["f", "m"]
    assert [mark.label for mark in drawing.series[0].marks] == ["10-17", "18-24", "25-34"]
    many = [((f"a{a}", f"g{g}"), [value(10 * a + g)]) for a in range(6) for g in range(9)]
    drawing = drawing_of(answer("SELECT …", ["a", "g"], ["n"], many))
    assert isinstance(drawing, HeatMap)
    assert (len(drawing.rows), len(drawing.rows[0].marks)) == (9, 6)
    assert drawing.rows[8].name == "g8"
    assert drawing.rows[8].marks[5].estimate == 58


def test_three_keys_are_read_as_two():
    """The other keys together name a series."""
    rows = [((m, a, b), [value(5)]) for m in ("2020", "2021") for a in "xy" for b in "z"]
    drawing = drawing_of(answer("SELECT …", ["y", "a", "b"], ["n"], rows))
    assert isinstance(drawing, Lines)
    assert [series.name for series in drawing.series] == ["x, z", "y, z"]


def test_quantiles_of_one_number_are_one_plot_from_least_to_largest_beside_the_other_measures():
    """A median and a quartile belong together, however they are written; a filtered one does not."""
    sql = "SELECT MEDIAN(age) AS mid, r, QUANTILE(age, 0.25) q, COUNT(*), MEDIAN(age) FILTER (WHERE g = 'x,y') FROM n GROUP BY r"
    rows = [(("a",), [value(40, 2), value(30, 2), value(500), value(1, 9)])]
    columns = ["mid", "r", "q", "n", "f"]
    asked = answer(sql, ["r"], ["mid", "q", "n", "f"], rows)
    asked.document["columns"][:] = [{"name": name, "measure": name != "r"} for name in columns]
    drawing = drawing_of(asked)
    assert isinstance(drawing, Panels)
    assert [type(panel) for panel in drawing.panels] == [Quantiles, Bars, Bars]
    quantiles = drawing.panels[0]
    assert quantiles.measure == "age"
    assert [(mark.label, mark.estimate) for mark in quantiles.series[0].marks] == [("25 %", 30), ("median", 40)]
    assert [panel.captions.title for panel in drawing.panels] == ["age", "n", "f"]


def test_tables_that_do_not_add_up_to_one_another_are_panels():
    """GROUPING SETS by two keys apart are two pictures, and say by what."""
    rows = [(("x", None), [value(5)]), ((None, "2020-01"), [value(5)]), ((None, "2020-02"), [value(6)])]
    drawing = drawing_of(answer("SELECT …", ["a", "month"], ["n"], rows))
    assert isinstance(drawing, Panels)
    assert [(type(panel), panel.captions.title) for panel in drawing.panels] == [
        (Bars, "n by a"),
        (Lines, "n by month"),
    ]


def test_margins_of_a_cube_are_left_out_of_the_cells_that_they_add_up():
    """Only the finest table is drawn; nothing in it is a sum of other cells."""
    rows = [((a, b), [value(10)]) for a in (*"xy", None) for b in (*"uv", None)]
    drawing = drawing_of(answer("SELECT … CUBE", ["a", "b"], ["n"], rows))
    assert isinstance(drawing, Bars)
    assert [[mark.label for mark in series.marks] for series in drawing.series] == [["x", "y"], ["x", "y"]]


@pytest.mark.parametrize(
    ("keys", "rows", "said"),
    [
        (["a"], [((f"p{at}",), 1) for at in range(MOST_PLACES + 7)], f"first {MOST_PLACES} of {MOST_PLACES + 7} rows"),
        (
            ["a", "b"],
            [((f"p{a}", f"q{b}"), 1) for a in range(50) for b in range(MOST_ACROSS + 1)],
            f"first {MOST_ACROSS} of {MOST_ACROSS + 1} columns",
        ),
        (
            ["y", "b"],
            [((str(2000 + y), f"q{b}"), 1) for y in range(2) for b in range(MOST_LINES + 1)],
            f"first {MOST_LINES} of {MOST_LINES + 1} series",
        ),
    ],
)
def test_what_a_picture_leaves_out_is_said(keys, rows, said):
    """Nothing is left out in silence."""
    drawing = drawing_of(answer("SELECT …", keys, ["n"], [(key, [value(v)]) for key, v in rows]))
    assert any(said in line for line in drawing.captions.lines)


def test_more_measures_than_panels_are_said():
    """The rest is in the table."""
    names = [f"m{at}" for at in range(MOST_PANELS + 2)]
    drawing = drawing_of(answer("SELECT …", ["a"], names, [(("x",), [value(9) for _ in names])]))
    assert isinstance(drawing, Panels)
    assert len(drawing.panels) == MOST_PANELS
    assert any(line.startswith("2 more pictures") for line in drawing.captions.lines)


def test_an_answer_without_rows_is_refused():
    """HAVING may leave nothing."""
    with pytest.raises(Refused, match="nothing to draw"):
        drawing_of(answer("SELECT …", ["a"], ["n"], []))


ESTIMATES = [
    (4.1, 2.1, 6.1), (4.0, 2.0, 6.0), (-4.1, -6.1, -2.1), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), (9.0, 8.0, math.inf),
    (9.0, -math.inf, 10.0), (math.nan, -math.inf, math.inf), (math.nan, 1.0, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("estimate", "low", "high"), ESTIMATES)
def test_too_noisy_in_a_picture_is_too_noisy_in_the_table(estimate, low, high):
    """One rule for both, at its edges and without ends."""
    as_json = {
        name: part if math.isfinite(part) else None
        for name, part in (("estimate", estimate), ("low", low), ("high", high))
    }
    assert mark_of("", Estimate(estimate, low, high, estimate)).noisy is too_noisy(as_json)


def test_captions_say_what_was_asked_who_answered_what_is_protected_cost_and_date():
    """All that a reader needs without the file's name, from an answer that the real code has written."""
    golden = Answer(json.loads((GOLDEN / "answer.json").read_text()) | {"opened_at": "2026-11-28T09:00:00Z"})
    captions = captions_of(golden)
    assert captions.title == golden.sql
    text = "\n".join(captions.lines)
    assert "3 of 5 forces answered; without surrey (declined: policy); suffolk (lost on the way)" in text
    assert "protected unit: one row (a row is not a person)" in text
    assert "cost: epsilon 1.44 over 2 attempts; opened 2026-11-28; query abababab" in text
    assert captions_of(golden, "A sentence").title == "A sentence"


def test_many_absent_forces_are_counted_after_the_first():
    """43 names would leave no room for anything else."""
    absent = {f"force-{at:02d}": "silent" for at in range(20)}
    line = who_answered(answer("SELECT …", [], ["n"], [], absent=absent))
    assert line.startswith("3 of 23 forces answered; without force-00, ")
    assert line.endswith("force-11 and 8 more (did not answer)")


def test_an_answer_of_the_real_code_is_drawn_with_its_own_values():
    """Each estimate of the golden answer is in the drawing, absent forces without one."""
    golden = Answer(json.loads((GOLDEN / "answer.json").read_text()))
    drawing = drawing_of(golden)
    assert isinstance(drawing, HeatMap)
    cells = {(row.name, mark.label): mark for row in drawing.rows for mark in row.marks}
    for row in golden.rows:
        mark = cells[row.keys]
        if row.values:
            assert (mark.estimate, mark.low, mark.high) == (row.values[0].value, row.values[0].low, row.values[0].high)
        else:
            assert mark.is_absent
            assert mark.note == row.note
    assert cells["essex", "Blue"].estimate == -40
    assert len(cells) == len(golden.rows)


@pytest.mark.parametrize(
    ("labels", "whole"),
    [
        (["2019", "2021"], ("2019", "2020", "2021")),
        (["2019-Q4", "2020-Q2"], ("2019-Q4", "2020-Q1", "2020-Q2")),
        (["2020-02-28", "2020-03-01"], ("2020-02-28", "2020-02-29", "2020-03-01")),
    ],
)
def test_periods_are_filled(labels, whole):
    """Leap days and turns of the year included."""
    assert in_order(reversed(labels)) == whole


@pytest.mark.parametrize("labels", [[], ["2019-13"], ["2019", "2019-01"], ["2021-02-29"], ["10-17"], ["٢٠١٩"]])
def test_what_is_no_period_is_not_taken_for_one(labels):
    """Age ranges, mixed grains and days that do not exist are names."""
    assert not are_periods(labels)


def test_a_select_list_that_cannot_be_cut_has_no_quantiles():
    """Then each column is drawn by itself."""
    assert quantiles_of("WITH x AS (SELECT MEDIAN(a), MEDIAN(a))", [True, True]) == [None, None]
    assert quantiles_of("SELECT MEDIAN(a) FROM t", [True, True]) == [None, None]
    found = quantiles_of("select percentile_cont(.9) within group (order by a) as x, max(a) from t", [True, True])
    assert found == [Quantile("a", 0.9), Quantile("a", 0.99)]
