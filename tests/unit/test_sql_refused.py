"""What is refused: where the caret points, and the nearest thing that would work."""

import pytest
from examples import PERSON_CONTRACT, person_contract, row_contract

from cordon.contract import Contract
from cordon.errors import QuestionRefused
from cordon.query.sql import parse_sql
from cordon.query.sql.products import HINT as SUMS

CONTRACTS = {"events": row_contract(), "persons": person_contract()}
FORCES = ("essex", "kent", "surrey")


def refused(sql, contracts=None):
    """The refusal of a statement."""
    with pytest.raises(QuestionRefused) as refusal:
        parse_sql(sql, contracts or CONTRACTS, FORCES)
    assert refusal.value.sql == sql
    return refusal.value


@pytest.mark.parametrize(
    ("rest", "under", "hint"),
    [
        # Names and values
        ("COUNT(*) FROM person", "person", "did you mean persons?"),
        ("COUNT(*) FROM persons WHERE roll = 'victim'", "roll", "did you mean role?"),
        ("COUNT(*) FROM persons WHERE role = 'victin'", "'victin'", "did you mean victim?"),
        ("COUNT(*) FROM persons WHERE force = 'kend'", "'kend'", "did you mean kent?"),
        ("persons.role, COUNT(*) FROM persons GROUP BY 1", "persons.role", "role, without the data set before it"),
        ("COUNT(*) FROM persons p", "persons p", "FROM persons"),
        ("COUNT(*) FROM (SELECT 1)", "1", "ask the inner SELECT by itself"),
        ("COUNT(*) / 1_000 FROM persons", "1_000", "write 1000, or 1000 AS name"),
        # Conditions
        ("COUNT(*) FROM persons WHERE role > 'victim'", "role > 'victim'", "use = or IN"),
        ("COUNT(*) FROM persons WHERE role = NULL", "role", "role IS NULL, or IS NOT NULL"),
        ("COUNT(*) FROM persons WHERE SUM(loss) > 3", "SUM(loss) > 3", "put this condition in HAVING"),
        ("COUNT(*) FROM persons WHERE loss IN (SELECT 1)", "loss IN (SELECT 1", "there are no subqueries: list the values"),
        ("COUNT(*) FROM persons WHERE role LIKE 'v%'", "role LIKE 'v%'", "IN lists codes; cordon datasets NAME shows them"),
        ("COUNT(*) FROM persons WHERE loss IS DISTINCT FROM 3", "loss IS DISTINCT FROM 3", "<> with a value, or IS NOT NULL"),
        ("COUNT(*) FILTER (WHERE force = 'kent') FROM persons", "force", "pick forces in WHERE, or GROUP BY force"),
        ("COUNT_IF(force = 'kent') FROM persons", "force", "pick forces in WHERE, or GROUP BY force"),
        # Measures
        ("SUM(role) FROM persons", "role", "numbers: loss"),
        ("MEDIAN(role) FROM persons", "role", "numbers: loss"),
        ("QUANTILE(day, 0.5) FROM persons", "day", "numbers: loss"),
        ("AVG(colour) FROM events", "colour", "COUNT(*), COUNT_IF(condition) and keys of GROUP BY"),
        ("AVG(loss + 1) FROM persons", "loss + 1", "do the arithmetic outside: 2 * AVG(number)"),
        ("SUM(2 * loss) FROM persons", "2", SUMS),
        ("SUM(loss * loss * loss) FROM persons", "loss * loss", SUMS),
        ("SUM(loss - loss) FROM persons", "loss - loss", SUMS),
        ("SUM(loss * loss - loss) FROM persons", "loss", SUMS),
        ("SUM(loss * role) FROM persons", "role", "numbers: loss"),
        ("SUM(loss - 60) FROM persons", "loss - 60", "a constant from -10 to 50: further off, it only adds noise"),
        ("SUM(loss - 0.3) FROM persons", "0.3", "values are whole multiples of it"),
        ("SUM((loss - 1) * loss) FROM persons", "loss - 1) * loss", "the same constant taken off both times"),
        ("SUM(loss * loss - -3) FROM persons", "loss * loss - -3", SUMS),
        ("SUM(DISTINCT loss) FROM persons", "loss", "SUM(number), without DISTINCT"),
        ("COUNT(DISTINCT role) FROM persons", "role", "COUNT(DISTINCT person)"),
        ("COUNT(DISTINCT colour) FROM events", "colour", "use COUNT(*)"),
        ("COUNT(person) FROM persons", "person", "COUNT(DISTINCT person)"),
        ("COUNT(force) FROM persons", "force", "COUNT(*)"),
        ("QUANTILE(loss, 95) FROM persons", "95", "QUANTILE(loss, 0.95)"),
        ("QUANTILE(loss, 1) FROM persons", "1", "QUANTILE(loss, 0.5)"),
        ("QUANTILE(loss, [0.1, 0.2]) FROM persons", "0.1, 0.2", "a column for each: they share one histogram, and its cost"),
        ("PERCENTILE_CONT(0.1) WITHIN GROUP (ORDER BY loss DESC) FROM persons", "loss", "ORDER BY the number itself, and 1 - q in place of q"),
        ("SUM(CASE WHEN role = 'victim' THEN 2 ELSE 0 END) FROM persons", "role = 'victim' THEN 2 ELSE 0", "SUM(CASE WHEN condition THEN 1 ELSE 0 END), or COUNT_IF(condition)"),
        ("RESIDENTS(role) FROM persons", "RESIDENTS(role", "RESIDENTS()"),
        ("PER_1000() FROM persons", "PER_1000", "PER_1000(COUNT(*))"),
        # Other functions and forms
        ("AVERAGE(loss) FROM persons", "AVERAGE(loss", "did you mean AVG?"),
        ("MEDAIN(loss) FROM persons", "MEDAIN(loss", "did you mean MEDIAN?"),
        ("MEAN(loss) FROM persons", "MEAN(loss", "AVG(number)"),
        ("ROUND(COUNT(*)) FROM persons", "ROUND(COUNT(*", "leave ROUND out: rounding is for whoever shows the answer"),
        ("CAST(COUNT(*) AS INT) FROM persons", "COUNT(*", "leave CAST out: division is of real numbers"),
        ("COUNT(*) OVER () FROM persons", "COUNT(*", "ORDER BY and LIMIT rank the answer, ROLLUP adds its totals"),
        ("* FROM persons", "*", "SELECT COUNT(*)"),
        ("loss + 1 FROM persons", "loss", "SUM(loss), AVG(loss), …"),
        ("COUNT(*) AS n, n / 2 FROM persons", "n", "write the measure itself out: it is paid for once"),
        ("COUNT(*) * 0 / 0 FROM persons", "COUNT(*) * 0 / 0", ""),
        ("COUNT(*) * 1e99 FROM persons", "1e99", ""),
        ("1 + 1, COUNT(*) FROM persons", "1 + 1", "COUNT(*), or a key of GROUP BY"),
        ("role, COUNT(*) FROM persons", "role", "add GROUP BY role"),
        ("YEAR(day), COUNT(*) FROM persons GROUP BY MONTH(day)", "YEAR(day", "select it as GROUP BY has it"),
        ("COUNT(*) FROM persons HAVING loss > 3", "loss", "SUM(loss), AVG(loss), …"),
        # Groups
        ("COUNT(*) FROM persons GROUP BY loss", "loss", "GROUP BY BIN(loss, 5)"),
        ("COUNT(*) FROM persons GROUP BY person", "person", "COUNT(DISTINCT person)"),
        ("COUNT(*) FROM persons GROUP BY BIN(loss, 0.75)", "0.75", "BIN(loss, 1)"),
        ("COUNT(*) FROM persons GROUP BY BIN(loss, -1)", "1", "BIN(loss, 5)"),
        ("COUNT(*) FROM persons GROUP BY BIN(loss, 500)", "500", "BIN(loss, 5)"),
        ("COUNT(*) FROM persons GROUP BY BIN(role, 5)", "role", "BIN(loss, 5)"),
        ("COUNT(*) FROM persons GROUP BY MONTH(role)", "role", "MONTH(day)"),
        ("COUNT(*) FROM persons GROUP BY DAY(day)", "DAY(day", "GROUP BY the date itself: each day is a row"),
        ("COUNT(*) FROM persons GROUP BY DATE_TRUNC('week', day)", "DATE_TRUNC('week', day", "DATE_TRUNC takes 'day', 'month', 'quarter' or 'year'"),
        ("COUNT(*) FROM persons GROUP BY YEAR(day), MONTH(day)", "MONTH(day", "GROUP BY MONTH(day) alone: each value names its year"),
        ("COUNT(*) FROM persons GROUP BY BIN(loss, 5), BIN(loss, 10)", "BIN(loss, 10", "one width of bins a question"),
        ("COUNT(*) FROM persons GROUP BY SUM(loss)", "SUM(loss", "a measure is what each group has"),
        ("COUNT(*) FROM persons GROUP BY 3", "3", ""),
        # Clauses
        ("role, COUNT(*) FROM persons GROUP BY role HAVING role = 'victim'", "role", "put it in WHERE: it picks records, and narrows the answer at no cost"),
        ("COUNT(*) FROM persons HAVING 1 = 1", "1 = 1", "HAVING COUNT(*) > 100"),
        ("COUNT(*) FROM persons HAVING COUNT(*) IN (1, 2)", "COUNT(*) IN (1, 2", "=, <>, <, <=, >, >=, BETWEEN, AND, OR, NOT over measures"),
        ("COUNT(*) FROM persons ORDER BY SUM(loss)", "SUM(loss", "add it to the SELECT list"),
        ("COUNT(*) FROM persons LIMIT 2 OFFSET 3", "3", "LIMIT keeps the first rows; all rows of an answer cost the same"),
        ("COUNT(*) FROM persons LIMIT 0", "0", "LIMIT 10"),
        ("COUNT(*) FROM persons p JOIN events e ON 1 = 1", "events e ON 1 = 1", "one data set at a time: forces join records in the view that they map"),
        ("COUNT(*) FROM persons ORDER BY 1 ASC DESC", "ASC DESC", ""),
        ("COUNT(*) FROM persons *", "*", "leave it out"),
    ],
)  # fmt: skip
def test_a_refusal_points_at_the_word_and_helps(rest, under, hint):
    """The marked part of the text is what is wrong, and the hint says what would do."""
    error = refused(f"SELECT {rest}")
    assert error.sql[error.start : error.end].strip("'()") == under.strip("'()")
    assert error.hint == hint


def test_a_measure_of_the_wrong_column_is_told_the_right_one():
    """The refusal names a column that the function takes, beside the one that it does not."""
    assert (
        str(refused("SELECT MEDIAN(role) FROM persons"))
        == "MEDIAN needs a bounded number: loss has bounds, role has none"
    )
    assert str(refused("SELECT MEDIAN(colour) FROM events")) == "MEDIAN needs a bounded number: events has none"


def test_months_have_no_days():
    """A date column of months is not grouped by day."""
    contracts = {"persons": Contract.from_toml(PERSON_CONTRACT.replace(b'grain = "day"', b'grain = "month"'))}
    error = refused("SELECT COUNT(*) FROM persons GROUP BY DATE_TRUNC('day', day)", contracts)
    assert (str(error), error.hint) == ("day has months, not days", "GROUP BY day")


@pytest.mark.parametrize(
    "clause", ["SELECT DISTINCT role FROM persons", "WITH c AS (SELECT 1) SELECT COUNT(*) FROM persons"]
)
def test_other_clauses_have_a_hint(clause):
    """Clauses that people expect of SQL are refused with what does their work here."""
    assert refused(clause).hint
