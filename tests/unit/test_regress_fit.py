"""Fitting from sums: what least squares say where there is no noise, and what the noise does where there is."""

import io
import json
import math
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from regressions import AGE, FORCES, ONE_ROW, Asked, federation_in, simulated, with_losses
from rich.console import Console
from scipy.stats import binom
from typer.testing import CliRunner

from cordon.errors import Refused
from cordon.estimate.interval import REACH_95
from cordon.workbench.drawing import Captions
from cordon.workbench.regress import finding
from cordon.workbench.regress.asking import Wanted, check_where
from cordon.workbench.regress.asking import fitted as fitted_from
from cordon.workbench.regress.cli import command
from cordon.workbench.regress.drawing import drawing_of
from cordon.workbench.regress.finding import fit
from cordon.workbench.regress.formula import read_model
from cordon.workbench.regress.model import Moment
from cordon.workbench.regress.reading import conclusions, limits
from cordon.workbench.regress.showing import COLUMNS, print_regression, sheet_of
from cordon.workbench.regress.sums import read_sums

LOSSES = Asked("loss_gbp ~ age + gender")
SHARES = Asked("role = 'suspect' ~ gender + offence")


def with_roles(records, generator):
    """Roles that depend on gender and offence, and offences of their own."""
    size = len(records["gender"])
    offence = generator.choice(["burglary", "fraud", "theft"], size, p=(0.5, 0.3, 0.2))
    share = 0.4 + 0.1 * (records["gender"] == "female") - 0.2 * (offence == "fraud")
    return records | {"offence": offence, "role": np.where(generator.random(size) < share, "suspect", "victim")}


@pytest.fixture(scope="module")
def records():
    """Four thousand records as a frame."""
    generator = np.random.default_rng(11)
    return pd.DataFrame(with_roles(with_losses(simulated(4000, generator), generator), generator))


@pytest.fixture(scope="module")
def exact(records):
    """The exact rows of any statement over them."""
    database = duckdb.connect()
    database.register("nominals", records)
    return lambda asked: asked.exact(database)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A federation with the bundled contracts."""
    return federation_in(tmp_path_factory.mktemp("regress"))


def design(records, *columns):
    """The matrix of a model, written by hand."""
    return np.column_stack([np.ones(len(records)), *(np.asarray(column, dtype=float) for column in columns)])


def fitted(asked, rows, generator=None):
    """The regression of exact rows, noised where a generator is given."""
    return fit(read_sums(asked.answer(rows, generator), asked.model))


def test_without_noise_it_is_ordinary_least_squares(records, exact):
    """Coefficients, R², scatter, and intervals by each gender's own scatter, are those of the records themselves."""
    asked = replace(LOSSES, contract=ONE_ROW)
    found = fitted(asked, exact(asked))
    x = design(records, records.gender == "female", records.gender == "other", records.age - 55)
    y = records.loss_gbp.to_numpy()
    solved, (squares,), *_ = np.linalg.lstsq(x, y, rcond=None)
    inverse, residual = np.linalg.inv(x.T @ x), y - x @ solved
    cells = [(records.gender == gender).to_numpy() for gender in ("male", "female", "other")]
    scattered = sum(np.mean(residual[cell] ** 2) * x[cell].T @ x[cell] for cell in cells)
    errors = np.sqrt(np.diag(inverse @ scattered @ inverse))
    assert [c.label for c in found.coefficients] == ["intercept", "gender: Female", "gender: Other", "age"]
    assert [c.estimate for c in found.coefficients] == pytest.approx(list(solved))
    assert [c.low for c in found.coefficients] == pytest.approx(list(solved - REACH_95 * errors))
    assert [c.high for c in found.coefficients] == pytest.approx(list(solved + REACH_95 * errors))
    assert [c.noise_share for c in found.coefficients] == [0, 0, 0, 0]
    assert found.explained == pytest.approx(1 - squares / ((y - y.mean()) ** 2).sum())
    assert found.scatter == pytest.approx(math.sqrt(squares / (len(y) - 4)))
    assert (found.rows, found.base) == (4000, "gender Male, age 55 years")


def test_shares_of_categories_scatter_each_in_their_own_way(records, exact):
    """Without numbers among the terms, the intervals are White's, in percentage points."""
    asked = replace(SHARES, contract=ONE_ROW)
    found = fitted(asked, exact(asked))
    x = design(
        records,
        *(
            records[c] == v
            for c, v in [("gender", "female"), ("gender", "other"), ("offence", "fraud"), ("offence", "theft")]
        ),
    )
    y = (records.role == "suspect").to_numpy(dtype=float)
    inverse = np.linalg.inv(x.T @ x)
    solved = inverse @ x.T @ y
    errors = np.sqrt(np.diag(inverse @ (x.T * (y - x @ solved) ** 2) @ x @ inverse))
    labels = ["intercept", "gender: Female", "gender: Other", "offence: Fraud", "offence: Theft"]
    assert [c.label for c in found.coefficients] == labels
    assert [c.estimate for c in found.coefficients] == pytest.approx(list(100 * solved))
    assert [c.high - c.low for c in found.coefficients] == pytest.approx(list(200 * REACH_95 * errors))


def test_rows_of_one_person_may_be_alike(exact):
    """Three rows of a person can vary together as much as thrice their number apart: intervals are √3 as wide."""
    alone = replace(LOSSES, contract=ONE_ROW)
    wide, narrow = fitted(LOSSES, exact(LOSSES)), fitted(alone, exact(alone))
    for of, by in zip(wide.coefficients, narrow.coefficients, strict=True):
        assert of.estimate == pytest.approx(by.estimate)
        assert of.high - of.low == pytest.approx(math.sqrt(3) * (by.high - by.low))
    assert "up to 3 records each may be quite alike" in " ".join(limits(wide, LOSSES.model))
    assert "alike: intervals" not in " ".join(limits(narrow, alone.model))


def test_a_share_along_a_line_scatters_at_most_as_where_it_is_nearest_to_one_half(exact):
    """Rare at most ages and frequent at the highest: the mean scatter is too small for rows far from the middle."""
    generator = np.random.default_rng(5)
    age = np.clip(np.rint(generator.exponential(12, 4000)), 0, 110)
    share = np.clip(0.005 + 0.004 * age, 0, 1)
    role = np.where(generator.random(4000) < share, "suspect", "victim")
    database = duckdb.connect()
    database.register("nominals", pd.DataFrame({"age": age, "role": role}))
    asked = Asked("role = suspect ~ age", contract=ONE_ROW)
    (term,) = fitted(asked, asked.exact(database)).terms
    slope, intercept = np.polyfit(age, role == "suspect", 1)
    highest = intercept + slope * 110
    assert 0.2 < highest < 0.5
    error = math.sqrt(highest * (1 - highest) / ((age - age.mean()) ** 2).sum())
    assert term.high - term.low == pytest.approx(200 * REACH_95 * error)


def test_numbers_explain_a_response_of_two_values(records, exact):
    """With a condition on the left and a number on the right, it is the linear probability model."""
    asked = Asked("role = suspect ~ age + loss_gbp")
    found = fitted(asked, exact(asked))
    x = design(records, records.age - 55, records.loss_gbp - 2500)
    solved = np.linalg.lstsq(x, (records.role == "suspect").to_numpy(dtype=float), rcond=None)[0]
    assert [c.estimate for c in found.coefficients] == pytest.approx(list(100 * solved))


def test_what_the_noise_of_each_value_does_is_known_exactly(exact):
    """The residual b − Aβ at a fixed β moves by what is told when one released value moves, for every value of every cell."""
    sums = read_sums(LOSSES.answer(exact(LOSSES), np.random.default_rng(5)), LOSSES.model)
    vector = np.array([3.0, -2.0, 5.0, 0.1, -1.0])
    solved = finding._solved(sums)
    told = solved.moved(vector)
    before = (sums.matrix() @ vector)[:-1]
    at = 0
    for moment in sums.released:
        for cell in range(len(sums.levels)):
            moved = sums.released[moment].copy()
            moved[cell] += sums.deviations[moment][cell]
            after = (replace(sums, released={**sums.released, moment: moved}).matrix() @ vector)[:-1]
            assert told[at] == pytest.approx(-(after - before), rel=1e-6, abs=1e-3)
            at += 1


def test_ends_are_where_the_score_is_as_long_as_the_noise_allows(exact):
    """At both ends of an interval the corrected score is 1.96 of its own deviations there, and zero at the estimate."""
    asked = replace(LOSSES, rho=10**8)
    sums = read_sums(asked.answer(exact(asked), np.random.default_rng(5)), asked.model)
    solved = finding._solved(sums)
    line = finding._line(3, solved, solved.moved(solved.residual), np.full(3, 250_000.0), 250_000.0)
    for end in line.ends():
        step = end - line.solved
        score = -line.slope * step - line.shift
        assert abs(score) == pytest.approx(REACH_95 * math.sqrt(sum(line.variance(step))))
    assert -line.slope * (line.estimate - line.solved) == pytest.approx(line.shift)
    assert line.ends()[0] < line.estimate < line.ends()[1]


def test_one_coefficient_alone_is_fiellers_ratio():
    """With nothing to profile out, the score is not corrected: the interval is that of a ratio of two noised sums."""
    model = read_model("loss_gbp ~ age", ONE_ROW)
    asked = Asked("loss_gbp ~ age", 10**8, contract=ONE_ROW)
    rows = [(4000, 0, 0, (225 - 1512) * 4000, (250_000 - 3_125_000) * 4000, 8 * 225 * 4000)]
    sums = read_sums(asked.answer(rows), model)
    deviations = {moment: np.zeros(1) for moment in sums.released}
    deviations[Moment((0, 0))] = np.array([90_000.0])
    deviations[Moment((0, 1))] = np.array([900_000.0])
    found = fit(replace(sums, deviations=deviations)).terms[0]
    top, bottom = 8 * 225 * 4000.0, 225 * 4000.0
    scatter = (250_000 - 64 * 225) * 4000 / 3998 * bottom
    a = bottom**2 - REACH_95**2 * 90_000.0**2
    root = math.sqrt((top * bottom) ** 2 - a * (top**2 - REACH_95**2 * (900_000.0**2 + scatter)))
    assert found.estimate == pytest.approx(8)
    # The scatter has what least squares fit to the noise added back, which is little here.
    assert (found.low, found.high) == pytest.approx(((top * bottom - root) / a, (top * bottom + root) / a), rel=1e-4)


def test_a_smaller_model_is_fitted_from_a_larger_ones_answer(exact):
    """Categories that it does not have are added up, and their noise with them."""
    larger = Asked("loss_gbp ~ age + gender + offence")
    answer = larger.answer(exact(larger), np.random.default_rng(3))
    sums = read_sums(answer, LOSSES.model)
    assert len(sums.levels) == 3
    assert sums.deviations[Moment()] == pytest.approx([math.sqrt(3) * larger.deviations[0]] * 3)
    plain = fitted(LOSSES, exact(LOSSES))
    assert [c.label for c in fit(sums).coefficients] == [c.label for c in plain.coefficients]
    with pytest.raises(Refused, match="has no sum_age, sum_loss_gbp, squares_age") as refusal:
        read_sums(SHARES.answer(exact(SHARES)), LOSSES.model)
    assert "its own answer" in refusal.value.hint


def test_levels_with_too_few_rows_are_left_out_and_named(records, exact):
    """A level that the noise may have made is not fitted; one that was asked for as the reference is refused."""
    asked = replace(LOSSES, rho=10**6)
    rows = [row for row in exact(asked) if row[0] != "other"] + [("other", 3, 0, 0, 0, 0, 0)]
    sums = read_sums(asked.answer(rows, np.random.default_rng(1)), asked.model)
    assert sums.left_out == ("Other (gender)",)
    assert sums.groups[0].levels == ("Male", "Female")
    chosen = replace(asked, references=("gender=other",))
    with pytest.raises(Refused, match="gender Other has too few rows to compare others with"):
        read_sums(chosen.answer(rows, np.random.default_rng(1)), chosen.model)


def test_a_force_that_did_not_answer_is_no_level(exact):
    """Rows without values are in no cell; forces are compared like categories."""
    asked = Asked("role = suspect ~ force")
    rows = [(force, 1000, 300 + 10 * at) for at, force in enumerate(FORCES)]
    answer = asked.answer(rows)
    document = dict(answer.document)
    document["rows"] = [
        row | {"values": [], "note": "did not answer"} if row["keys"] == ["cumbria"] else row
        for row in document["rows"]
    ]
    found = fit(read_sums(replace(answer, document=document), asked.model))
    assert found.base == "force durham"
    assert [round(c.estimate, 6) for c in found.coefficients] == [31, 1, 2, 3, 4]


def test_where_nothing_can_be_told_nothing_is_fitted(exact):
    """Refused where the noise allows any value of every term, with how much more would do."""
    asked = Asked("loss_gbp ~ age", 10**5)
    generator = np.random.default_rng(2)
    hints = []
    for _ in range(30):
        try:
            found = fitted(asked, exact(asked), generator)
        except Refused as refused:
            hints.append((str(refused), refused.hint))
        else:
            assert found.terms[0].is_told
    assert len(hints) > 10
    assert all(text.startswith("too noisy to fit") and "epsilon" in hint for text, hint in hints)
    assert all("of two terms that say the same, drop one" in hint for _, hint in hints)


def test_what_the_noise_leaves_no_figure_of_is_not_told(exact):
    """R² beyond 0 to 1 says nothing, and neither does a scatter below zero: neither is printed as the nearest figure."""
    sums = read_sums(LOSSES.answer(exact(LOSSES)), LOSSES.model)
    squares = Moment((1, 1))
    # As if the noise had taken off the losses' squares what is not explained, and more.
    found = fit(replace(sums, released={**sums.released, squares: sums.released[squares] - 4e8}))
    assert math.isnan(found.explained)
    assert math.isnan(found.scatter)
    assert found.as_dict()["explained"] is None
    assert "cannot be told from the noise" in " ".join(limits(found, LOSSES.model))
    out = Console(width=160, file=io.StringIO())
    print_regression(found, LOSSES.model, LOSSES.answer(exact(LOSSES)), out)
    assert "explained (R²): cannot be told; scatter: cannot be told" in out.file.getvalue()


def test_a_term_that_the_noise_hides_is_told_beside_others():
    """One term's interval may have no ends while another's has: it is shown as any value, absent in the picture."""
    model = LOSSES.model
    asked = replace(LOSSES, rho=10**9)
    rows = [
        ("male", 2000, 0, 0, (9 - 1512) * 2000, (250_000 - 3_125_000) * 2000, 0),
        ("female", 2000, 0, 600_000, (9 - 1512) * 2000, (340_000 - 3_125_000) * 2000, 0),
    ]
    answer = asked.answer(rows)
    sums = read_sums(answer, model)
    deviations = {moment: np.full(2, 1.0) for moment in sums.released} | {Moment((0, 0)): np.full(2, 20_000.0)}
    found = fit(replace(sums, deviations=deviations))
    female, age = found.terms
    assert (female.is_told, female.stands_out, age.is_told, age.stands_out) == (True, True, False, False)
    assert found.as_dict()["coefficients"][2]["low"] is None
    assert math.isnan(age.p_value)
    assert sheet_of(found, model, answer).rows[2][7] is None
    assert "age, for each one more (years): the noise allows any value" in conclusions(found, model)[1]
    forest = drawing_of(found, model, Captions("t"))
    assert [name for name, _ in forest.groups] == ["gender, compared with Male", "numbers"]
    (effect,) = forest.groups[1][1]
    assert (effect.mark.label, effect.mark.is_absent, effect.mark.noisy) == ("age, per 11 years", True, True)
    out = Console(width=160, file=io.StringIO())
    print_regression(found, model, answer, out)
    assert "any value" in out.file.getvalue()


def test_a_regression_reads_in_plain_english(exact):
    """Each term in a sentence with its interval, what must not be concluded, and the same in every form."""
    answer = LOSSES.answer(exact(LOSSES), np.random.default_rng(8))
    model = LOSSES.model
    found = fit(read_sums(answer, model))
    said = conclusions(found, model)
    assert said[0].startswith("gender Female, compared with Male: ")
    assert " GBP more loss_gbp (95 % interval " in said[0]
    assert said[2].startswith("age, for each one more (years): ")
    words = " ".join(limits(found, model))
    for claim in ("no cause", "predicts anything about one person", "Persons are taken as independent", "absent"):
        assert claim in words
    out = Console(width=200, file=io.StringIO())
    print_regression(found, model, answer, out)
    text = out.file.getvalue()
    for piece in (
        "loss_gbp ~ age + gender, in GBP",
        "intercept: gender Male, age 55 years",
        "What they do not show",
        "abababab",
    ):
        assert piece in text
    sheet = sheet_of(found, model, answer)
    assert sheet.columns == COLUMNS
    assert [row[:2] for row in sheet.rows][:2] == [("intercept", ""), ("gender", "Female")]
    assert json.loads(json.dumps(sheet.about))["formula"] == "loss_gbp ~ age + gender"
    forest = drawing_of(found, model, Captions("t"))
    mark = forest.groups[1][1][0].mark
    assert mark.estimate == pytest.approx(11 * found.terms[2].estimate)
    assert (forest.none, forest.measure) == (0.0, "difference in loss_gbp, GBP")


def test_shares_read_in_percentage_points(exact):
    """A response of two values is told as how often, and its straight line as a limit."""
    found = fitted(SHARES, exact(SHARES))
    said = " ".join(conclusions(found, SHARES.model))
    assert "offence Fraud, compared with Burglary: " in said
    assert "percentage points less often (95 % interval " in said
    assert "leave 0 to 100 %" in " ".join(limits(found, SHARES.model))


def test_an_answer_about_something_else_is_not_fitted(exact, known):
    """Neither another data set's answer nor one whose records would have to be narrowed afterwards."""
    answer = LOSSES.answer(exact(LOSSES))
    wanted = Wanted(LOSSES.model, LOSSES.sql, known)
    assert fitted_from(answer, wanted).found == fit(read_sums(answer, LOSSES.model))
    other = replace(answer, document={**answer.document, "dataset": "nominals v2"})
    with pytest.raises(Refused, match="is about nominals v2, not nominals v1"):
        fitted_from(other, wanted)
    with pytest.raises(Refused, match="cannot be narrowed afterwards"):
        check_where("age > 3", again=True)
    arguments = ["loss_gbp ~ age", "--from", "nominals", "--where", "age > 3", "--from-query", "ab"]
    failed = CliRunner().invoke(command, arguments).exception
    assert isinstance(failed, Refused)
    assert "cannot be narrowed afterwards" in str(failed)


def test_intervals_hold_the_slope_as_often_as_they_say():
    """Of 60 sets of records and releases, in which noise makes up most of the variance; thousands in the slow suite."""
    asked = replace(LOSSES, rho=10**9, contract=ONE_ROW)
    generator = np.random.default_rng(21)
    database = duckdb.connect()
    held = 0
    for _ in range(60):
        database.register("nominals", pd.DataFrame(with_losses(simulated(3000, generator), generator)))
        age = fitted(asked, asked.exact(database), generator).terms[-1]
        assert age.noise_share > 0.5
        held += age.low <= AGE <= age.high
    low, high = binom.interval(1 - 1e-6, 60, 0.95)
    assert low <= held <= high
