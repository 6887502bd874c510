"""A watch's pure parts: when it is due, what is a change, what can be compared, and its picture."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from examples import PERSON_CONTRACT, person_contract, row_contract
from hypothesis import given
from hypothesis import strategies as st
from savedwatches import NOW, WATCH_ID, reserved, saved, settled
from scipy.stats import norm, skellam

from cordon.analyst.rows import Estimate
from cordon.contract import Contract
from cordon.errors import QuestionRefused, Refused
from cordon.estimate.interval import REACH_95
from cordon.query.sql import parse_sql
from cordon.workbench.answer import Answer
from cordon.workbench.drawing import Lines
from cordon.workbench.watch.account import Account
from cordon.workbench.watch.alert import change_alert
from cordon.workbench.watch.change import Pair, findings, holm, most_rows, upper_tail
from cordon.workbench.watch.checks import natural_of
from cordon.workbench.watch.comparing import compared
from cordon.workbench.watch.drawing import Point, drawing_of
from cordon.workbench.watch.loop import AGAIN_SECONDS, until_due
from cordon.workbench.watch.saved import Natural, check_watchable
from cordon.workbench.watch.schedule import Every, named, next_slot, slot_of, year_before

# Schedule


@given(st.sampled_from(list(Every)), st.dates(date(1971, 1, 1), date(2200, 1, 1)))
def test_every_day_lies_in_one_slot_and_slots_follow_each_other(every, day):
    """A slot begins on or before each of its days, the next one after it, and nothing lies between."""
    now = int(datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC).timestamp())
    slot = slot_of(every, now)
    following = next_slot(every, slot)
    assert slot <= day < following
    last = following - timedelta(days=1)
    assert slot_of(every, int(datetime(last.year, last.month, last.day, tzinfo=UTC).timestamp())) == slot
    assert named(every, slot) != named(every, following)


@pytest.mark.parametrize("every", list(Every))
def test_no_calendar_year_touches_more_slots_than_are_paid_for(every):
    """Over a calendar's 28 years, the most slots in a year are exactly as many as false alerts are bounded by."""
    most = 0
    for year in range(2001, 2029):
        first = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
        slot, count = slot_of(every, first), 1
        while next_slot(every, slot).year == year:
            slot, count = next_slot(every, slot), count + 1
        most = max(most, count)
    assert most == every.most_a_year


def test_the_year_before_of_a_leap_day_and_of_a_week():
    """There is a slot to compare with also where the calendar has no such day; weeks stay weeks."""
    assert year_before(Every.DAY, date(2028, 2, 29)) == date(2027, 2, 28)
    assert year_before(Every.WEEK, date(2026, 11, 23)).weekday() == 0
    assert year_before(Every.QUARTER, date(2026, 10, 1)) == date(2025, 10, 1)
    assert named(Every.QUARTER, date(2026, 10, 1)) == "2026-Q4"


def test_the_loop_sleeps_until_the_slot_begins():
    """Where nothing is due, until the first second of the next slot; where it is, for the stated while."""
    account = Account.of([reserved(1), settled(2, 1)])
    first = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert until_due(saved(), account, first - 90) == 90
    assert until_due(saved(), account, first) == AGAIN_SECONDS == until_due(saved(), Account(), first)


# Change


@pytest.mark.parametrize(("k", "sigma"), [(1, 1.0), (1, 8.0), (3, 2.5)])
def test_tails_are_those_of_the_exact_distribution(k, sigma):
    """A difference of two Poisson numbers of groups of k and a normal: within 5 %, down to chances of 1e-13."""
    for rows in (0.1, 1.0, 30.0, 300.0):
        for distance in np.array([2, 4, 6]) * np.sqrt(k * rows + sigma**2):
            groups = np.arange(-600, 601)
            exact = (skellam.pmf(groups, rows / 2 / k, rows / 2 / k) * norm.sf((distance - k * groups) / sigma)).sum()
            assert _tail(distance, rows, sigma, k) == pytest.approx(exact, rel=0.05, abs=1e-14)


def test_little_noise_beside_rows_that_come_together_gives_a_bound():
    """Where the distribution has steps, the tail is never below the exact one."""
    for rows in (0.1, 1.0, 30.0):
        for distance in np.array([2, 4, 6]) * np.sqrt(10 * rows + 1):
            groups = np.arange(-200, 201)
            exact = (skellam.pmf(groups, rows / 20, rows / 20) * norm.sf(distance - 10 * groups)).sum()
            assert _tail(distance, rows, 1.0, 10) >= min(exact, 0.499)


def _tail(distance, rows, sigma, k):
    return float(upper_tail(*(np.array([float(x)]) for x in (distance, rows, sigma**2, k)))[0])


def test_the_bound_on_the_rate_is_the_score_bound():
    """The noised sum lies just as many deviations below the bound as the tail says; below zero there is none."""
    bound = most_rows(np.array([100.0, -900.0]), np.array([64.0, 64.0]), np.array([3.0, 1.0]), 1e-4)
    assert (bound[0] - 100) / np.sqrt(3 * bound[0] + 64) == pytest.approx(norm.isf(1e-4))
    assert bound[1] == 0


def pair(before: float, now: float, *, sigma: float = 5.0, cluster: int | None = 1, key: str = "a") -> Pair:
    """One cell in two releases."""
    reach = REACH_95 * sigma
    first, second = (Estimate(value, value - reach, value + reach, value) for value in (before, now))
    return Pair((key,), "n", first, second, cluster)


def test_a_change_is_found_and_what_noise_or_chance_explains_is_not():
    """Of 1,000 rows, 400 more are found; 60 more are not, since as many come by chance; without chance they are."""
    (found,) = findings([pair(1000, 1400), pair(1000, 1060, key="b")], releases=12, least_change=0)
    assert (found.change, found.relative) == (400, 0.4)
    alone = findings([pair(1000, 1060, cluster=None)], releases=12, least_change=0)
    assert len(alone) == 1
    assert findings([pair(1000, 1015, cluster=None)], releases=12, least_change=0) == ()
    assert findings([], releases=12, least_change=0) == ()


def test_rows_of_one_person_vary_together():
    """A rise that is significant for single rows is not, where ten rows of one person can come at once."""
    assert findings([pair(1000, 1400)], releases=12, least_change=0)
    assert not findings([pair(1000, 1400, cluster=10)], releases=12, least_change=0)


def test_small_changes_are_left_out_where_that_is_asked():
    """With --least-change 50 % a rise by 40 % is none, one by 60 % is; from nothing any change is large."""
    pairs = [pair(1000, 1400), pair(1000, 1600, key="b"), pair(-2, 90, key="c")]
    assert {found.pair.keys for found in findings(pairs, releases=12, least_change=0.5)} == {("b",), ("c",)}


def test_holm_rejects_the_smallest_first_and_stops():
    """The second smallest of three is held to level / 2; what comes after a kept one is kept."""
    assert holm(np.array([0.3, 0.01, 0.02]), 0.05) == [1, 2]
    assert holm(np.array([0.02, 0.01, 0.03]), 0.05) == [1, 0, 2]
    assert holm(np.array([0.03, 0.04, 0.03]), 0.05) == []


# What can be watched, and compared


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("AVG(loss) FROM persons", "is none"),
        ("SUM(loss) / COUNT(*) FROM persons", "is none"),
        ("MEDIAN(loss) FROM persons", "is none"),
        ("role, COUNT(*) FROM persons GROUP BY ROLLUP (role)", "one table"),
        ("role, COUNT(*) FROM persons GROUP BY role HAVING COUNT(*) > 3", "HAVING"),
        ("role, COUNT(*) AS n FROM persons GROUP BY role ORDER BY n LIMIT 3", "LIMIT"),
    ],
)
def test_what_could_not_be_compared_cell_by_cell_is_refused(columns, words):
    """A watch takes counts and sums of one table, all of its cells."""
    statement = parse_sql(f"SELECT {columns}", {"persons": person_contract()}, ["kent"])
    with pytest.raises(QuestionRefused, match=words):
        check_watchable(statement)
    check_watchable(
        parse_sql(
            "SELECT COUNT(*), SUM(loss), COUNT(*) - COUNT_IF(role = 'victim') FROM persons",
            {"persons": person_contract()},
            ["kent"],
        )
    )


def answer(rows: dict[str, float], forces: tuple[str, ...], key: str = "colour", last: str = "2025-12") -> Answer:
    """An answer of one count."""
    return Answer(
        {
            "columns": [{"name": key, "measure": False}, {"name": "n", "measure": True}],
            "rows": [
                {"keys": [name], "note": "", "values": [{"estimate": n, "low": n - 9, "high": n + 9, "raw": n}]}
                for name, n in rows.items()
            ],
            "answered": list(forces),
            "vintages": {force: {"first_month": "2025-01", "last_month": last} for force in forces},
        }
    )


def test_totals_of_other_forces_are_not_compared_and_lines_of_forces_are():
    """A force that joins the answer changes every total by itself; its own line alone is left out."""
    both, one = ("essex", "kent"), ("kent",)
    contract = row_contract()
    total = parse_sql("SELECT colour, COUNT(*) AS n FROM events GROUP BY colour", {"events": contract}, [*both, "avon"])
    found = compared(answer({"Red": 10}, one), answer({"Red": 20}, both), total, contract, saved())
    assert found.pairs == ()
    assert "essex only now" in found.notes[0]
    assert compared(answer({"Red": 10}, one), answer({"Red": 20}, one), total, contract, saved()).pairs
    lines = parse_sql("SELECT force, COUNT(*) AS n FROM events GROUP BY force", {"events": contract}, [*both, "avon"])
    before, now = answer({"kent": 10}, one, "force"), answer({"essex": 9, "kent": 20}, both, "force")
    found = compared(before, now, lines, contract, saved())
    assert [(p.keys, p.cluster) for p in found.pairs] == [(("kent",), 1)]


def test_other_months_are_not_compared_and_a_persons_rows_vary_together():
    """Counts over more months are larger for that alone: none is compared, and why; k rows of a person are a cluster."""
    contract = person_contract()
    sql = "SELECT role, COUNT(*), COUNT(DISTINCT person) FROM persons GROUP BY role"
    statement = parse_sql(sql, {"persons": contract}, ["kent"])
    one = answer({"Suspect": 10}, ("kent",), "role")
    document = json.loads(json.dumps(one.document))
    document["columns"].append({"name": "p", "measure": True})
    document["rows"][0]["values"] *= 2
    later = json.loads(json.dumps(document))
    later["vintages"]["kent"]["last_month"] = "2026-01"
    found = compared(Answer(document), Answer(later), statement, contract, saved())
    assert found.pairs == ()
    same = compared(Answer(document), Answer(document), statement, contract, saved())
    assert [p.cluster for p in same.pairs] == [3, 1]
    assert "2025-01 to 2026-01 now" in found.notes[0]
    assert saved(times=4.0).times == 4
    assert [
        p.cluster for p in compared(Answer(document), Answer(document), statement, contract, saved(times=4.0)).pairs
    ] == [12, 4]
    found = compared(Answer(document), Answer(document), statement, contract, saved(natural="none"))
    assert ([p.cluster for p in found.pairs], found.notes) == ([None, None], ())


@pytest.mark.parametrize(
    ("sql", "keys", "kept"),
    [
        ("SELECT COUNT(*) AS n FROM persons", [[]], 0),
        ("SELECT COUNT(*) AS n FROM persons WHERE day BETWEEN '2025-02-01' AND '2025-11-30'", [[]], 1),
        ("SELECT COUNT(*) AS n FROM persons WHERE day >= '2025-02-01'", [[]], 0),
        ("SELECT MONTH(day) AS m, COUNT(*) AS n FROM persons GROUP BY m", [["2025-12"], ["2026-01"]], 1),
        ("SELECT YEAR(day) AS y, COUNT(*) AS n FROM persons GROUP BY y", [["2025"], ["2026"]], 1),
        ("SELECT force, COUNT(*) AS n FROM persons GROUP BY force", [["essex"], ["kent"]], 1),
    ],
)
def test_a_table_that_grows_is_compared_over_the_same_months_only(sql, keys, kept):
    """Kent's records have a month more than before, Essex's not: what can have grown for that alone is left out."""
    before, now = (answer({"x": 10}, ("essex", "kent"), last=last).document for last in ("2025-12", "2026-01"))
    now["vintages"]["essex"] = before["vintages"]["essex"]
    columns = [{"name": f"k{at}", "measure": False} for at in range(len(keys[0]))]
    for document in (before, now):
        document["columns"] = [*columns, document["columns"][1]]
        document["rows"] = [document["rows"][0] | {"keys": key} for key in keys]
    contract = person_contract()
    found = compared(
        Answer(before), Answer(now), parse_sql(sql, {"persons": contract}, ["essex", "kent"]), contract, saved()
    )
    assert len(found.pairs) == kept
    assert bool(found.notes) == (kept < len(keys))


def test_records_that_vary_more_are_allowed_for_where_that_is_said():
    """A rise beyond what independent records vary by is none where four times as much was allowed for."""
    assert natural_of("4") == (Natural.POISSON, 4.0)
    assert natural_of("none") == (Natural.NONE, 1.0)
    for text in ("0.5", "much", "nan", "1001"):
        with pytest.raises(QuestionRefused):
            natural_of(text)
    assert findings([pair(1000, 1250)], releases=12, least_change=0)
    assert not findings([pair(1000, 1250, cluster=4.0)], releases=12, least_change=0)


def test_the_contract_that_clusters_are_read_from_is_the_examples():
    """The example's persons have three rows at most, as the test above counts on."""
    assert Contract.from_toml(PERSON_CONTRACT).unit.max_rows_per_unit == 3


# Pictures


def point(slot: str, rows: dict[str, float], query: str, forces: tuple[str, ...] = ("kent",)) -> Point:
    """One release."""
    document = dict(answer(rows, forces).document) | {
        "query": query, "protected_unit": "one row", "declined": [], "did_not_answer": [], "lost": [],
        "opened_at": "2026-11-28T00:00:00+00:00", "dataset": "events v1", "caveat": "a row is not a person",
    }  # fmt: skip
    return Point(slot, Answer(document))


def test_a_picture_has_every_release_its_interval_and_its_alerts():
    """One line a cell, one place a slot; a cell that a release lacks is absent there and no zero."""
    points = [point("2026-10", {"Red": 50}, "aa" * 32), point("2026-11", {"Red": 90, "Blue": 5}, "bb" * 32)]
    (found,) = findings([pair(50, 90, key="Red", sigma=1)], releases=12, least_change=0)
    raised = change_alert(
        saved(), SimpleNamespace(hex=lambda: WATCH_ID),  # type: ignore[arg-type]
        (points[0].answer, points[1].answer), [found], slots=("2026-10", "2026-11"), at=NOW, notes=(),
    )  # fmt: skip
    drawn = drawing_of(saved(), points, [raised], "spent little")
    assert isinstance(drawn, Lines)
    red, blue = drawn.series
    assert [(mark.label, mark.estimate, mark.low) for mark in red.marks] == [("2026-10", 50, 41), ("2026-11", 90, 81)]
    assert blue.marks[0].is_absent
    assert blue.marks[1].noisy
    assert [(c.series, c.label, c.words) for c in drawn.changes] == [("Red", "2026-11", "+40")]
    assert drawn.captions.title == saved().sql
    assert "data set events v1; protected unit: one row (a row is not a person)" in drawn.captions.lines
    with pytest.raises(Refused, match="no release"):
        drawing_of(saved(), [], [], "")
