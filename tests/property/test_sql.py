"""SQL that is changed at random is read or refused, and never anything else."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from examples import person_contract, row_contract
from hypothesis import given, settings
from hypothesis import strategies as st

from cordon.contract import Number
from cordon.errors import QuestionRefused
from cordon.query.expression import Quantile, Residents, leaves
from cordon.query.model import MeasureKind, Question
from cordon.query.plan import make_plan, outline
from cordon.query.sql import parse_sql
from cordon.query.sql.histogram import FEWEST_BINS, MOST_BINS, MOST_CELLS, widths_for
from cordon.units import Rho
from cordon.wire import codec

CONTRACTS = {"events": row_contract(), "persons": person_contract()}
FORCES = ("essex", "kent")
MOST = 20_000
ACCEPTED = (
    "SELECT COUNT(*) FROM events",
    "SELECT role, COUNT(*) FROM persons.v1 WHERE loss > 3 GROUP BY role",
    'SELECT COUNT(*) FROM "events"."v1" WHERE force <> \'kent\'',
    "SELECT colour, COUNT(*) FROM events WHERE day BETWEEN '2025-01-01' AND '2025-03-31' GROUP BY colour",
    "SELECT force, COUNT(DISTINCT person), SUM(loss) FROM persons WHERE NOT (role = 'victim' OR loss > 10) GROUP BY force ORDER BY 2 DESC LIMIT 3",
    "SELECT AVG(loss), VARIANCE(loss), STDDEV(loss) FROM persons WHERE role IS NOT NULL",
    "SELECT VAR_POP(loss) AS a, STDDEV_POP(loss) AS b, VAR_SAMP(loss), STDDEV_SAMP(loss) FROM persons",
    "SELECT COUNT(loss), COUNT(role), COUNT(day) FROM persons WHERE loss IS NULL OR day IS NULL",
    "SELECT MEDIAN(loss), QUANTILE(loss, 0.25), QUANTILE_CONT(loss, 0.75) FROM persons",
    "SELECT role, MIN(loss), MAX(loss) FROM persons GROUP BY role ORDER BY MIN(loss)",
    "SELECT PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY loss) FROM persons",
    "SELECT PERCENTILE_DISC(0.9) WITHIN GROUP (ORDER BY loss) FILTER (WHERE role = 'victim') FROM persons",
    "SELECT COUNT_IF(role = 'victim') AS n, COUNTIF(loss > 3 AND day < '2025-06') FROM persons",
    "SELECT SUM(CASE WHEN role = 'victim' THEN 1 ELSE 0 END) FROM persons",
    "SELECT 100.0 * COUNT_IF(role = 'victim') / COUNT(*) AS share FROM persons HAVING share > 5 AND COUNT(*) >= 10",
    "SELECT SUM(loss) FILTER (WHERE role = 'suspect') - -2 * (AVG(loss) + 1.5) FROM persons",
    "SELECT force, PER_1000(COUNT(*)), COUNT(*) / RESIDENTS() FROM events GROUP BY force",
    "SELECT MONTH(day), COUNT(*) FROM events GROUP BY 1",
    "SELECT DATE_TRUNC('quarter', day) AS q, COUNT(*) FROM events GROUP BY q ORDER BY q DESC",
    "SELECT YEAR(day), force, COUNT(*) FROM events GROUP BY YEAR(day), force",
    "SELECT day, COUNT(*) FROM events WHERE day >= '2025-11-30' GROUP BY day",
    "SELECT BIN(loss, 7.5), COUNT(*) FROM persons GROUP BY BIN(loss, 7.5)",
    "SELECT role, QUARTER(day), SUM(loss) FROM persons GROUP BY ROLLUP(role, QUARTER(day))",
    "SELECT role, force, COUNT(*) FROM persons GROUP BY force, CUBE(role, BIN(loss, 10))",
    "SELECT colour, force, COUNT(*) FROM events GROUP BY GROUPING SETS ((colour, force), (force), ())",
    "SELECT colour, force, COUNT(*) FROM events GROUP BY colour, force WITH ROLLUP",
    "SELECT role, COUNT(*) AS n FROM persons GROUP BY role HAVING NOT (n BETWEEN 5 AND 10 OR AVG(loss) = 2.5) LIMIT 2",
    "SELECT role, COUNT(*) FROM persons WHERE force IN ('kent') AND role <> 'victim' AND loss NOT IN (1, 2.5) GROUP BY role",
)  # fmt: skip
BITS = (
    "(", ")", "'", '"', ",", ";", "NOT", "NULL", "NULLS", "*", "9999-12", "UNION", "PIVOT", "é", "²", "--", "/*+", "\0", "::", "::int",
    "1e999", "1e999999999", "1_000", "-", "/", "0", "%", "colour", "loss", "role", "force", "n", "AS", "DESC", "DISTINCT", "ALL", "OVER ()",
    "FILTER (WHERE", "ROLLUP(", "CUBE(", "()", "WITH", "OFFSET 3", "HAVING", "ORDER BY", "GROUP BY", "LIMIT", "QUALIFY", "CASE", "WHEN",
    "[1]", "$1", "@a", "?", "{", "IS", "IN (SELECT 1)", "AND", "OR", "QUANTILE(loss, 2)", "MEDIAN(role)", "RESIDENTS()", "BIN(loss, 0.3)", ".v1", ".v2", "persons.v1", "events.v1.v1",
)  # fmt: skip


def changed(source):
    """An accepted statement with one to three words or characters taken out, replaced or put in."""
    words = source.choice(ACCEPTED).split(" ")
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(words))
        words[at : at + source.randint(0, 1)] = [source.choice((*BITS, source.choice(words)))]
    sql = " ".join(words)
    if source.random() < 0.3:
        at = source.randrange(len(sql))
        sql = sql[:at] + source.choice(("", sql[at] * 2, source.choice("()'\"_.1x,*"))) + sql[at + 1 :]
    return sql


def check_question(question):
    """A question survives the wire unchanged, and is planned or refused."""
    assert codec.decode(Question, codec.encode(question)) == question
    contract = CONTRACTS[question.dataset]
    try:
        parts = outline(question, contract, most_cells=MOST).parts
        plan = make_plan(question, (Rho(10**7),) * len(parts), contract, colluders=1, most_cells=MOST)
    except QuestionRefused:
        return
    assert plan.cells == sum(part.cells for part in parts)


def check_statement(statement):
    """Columns are of measures that are asked for, a Quantile's of a histogram, and none that is asked for is unused."""
    measures = statement.question.measures
    used = set()
    for output in statement.outputs:
        assert (output.key is None) != (output.expression is None)
        for leaf in leaves(output.expression) if output.expression is not None else ():
            if not isinstance(leaf, Residents):
                used.add(leaf.measure)
                assert isinstance(leaf, Quantile) == (measures[leaf.measure].kind is MeasureKind.HISTOGRAM)
    assert used <= set(range(len(measures)))
    assert statement.having is not None or len(used) == len(measures)
    assert all(order.output < len(statement.outputs) for order in statement.order)


def check_changed(source, count):
    """Read or refuse changed statements; how many were refused."""
    places = []
    for _ in range(count):
        sql = changed(source)
        try:
            statement = parse_sql(sql, CONTRACTS, FORCES)
        except QuestionRefused as refusal:
            places.append((refusal.start, refusal.end, len(sql)))
        else:
            check_statement(statement)
            check_question(statement.question)
    assert all(0 <= start <= end <= length for start, end, length in places)
    return len(places)


@pytest.mark.parametrize("sql", ACCEPTED)
def test_accepted_statements_are_read_planned_and_travel(sql):
    """What the mutations start from is within the subset, fits a plan, and survives the wire."""
    statement = parse_sql(sql, CONTRACTS, FORCES)
    check_statement(statement)
    check_question(statement.question)
    assert outline(statement.question, CONTRACTS[statement.question.dataset], most_cells=MOST).parts


def test_changed_statements_are_read_or_refused():
    """Of 3,000 changed statements, each is read whole or refused with a place inside the text."""
    assert 1000 < check_changed(random.Random(7), 3000) < 3000


@pytest.mark.slow
def test_many_changed_statements_are_read_or_refused():
    """Of 100,000 changed statements, each is read whole or refused with a place inside the text."""
    assert 30_000 < check_changed(random.Random(8), 100_000) < 100_000


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) FROM events WHERE " + "(" * 5000 + "colour = 'red'" + ")" * 5000,
        "SELECT COUNT(*) FROM events WHERE " + "NOT " * 4000 + "colour = 'red'",
        "SELECT " + "-" * 3 + "COUNT(*)" + " + 1" * 4000 + " FROM events",
        "SELECT " + "- " * 4000 + "COUNT(*) FROM events",
        "SELECT COUNT(*)" + " * COUNT(*)" * 200 + " FROM events",
        "SELECT COUNT(*) FROM events WHERE " + " OR ".join(["day = '2025-01-01'"] * 600),
        "SELECT COUNT(*) FROM events WHERE " + "(colour = 'red' OR day IS NULL AND (" * 20 + "day IS NULL" + "))" * 20,
        "SELECT COUNT(*) FROM events HAVING " + "NOT (COUNT(*) > 1 AND " * 100 + "COUNT(*) > 2" + ")" * 100,
        "SELECT COUNT(*) FROM events GROUP BY CUBE(" + ", ".join(["colour"] * 40) + ")",
        "SELECT COUNT(*) FROM events GROUP BY " + ", ".join(["CUBE(colour, day, force)"] * 40) + ", MONTH(day)",
        "SELECT COUNT(*) FROM events LIMIT " + "9" * 5000,
        "SELECT BIN(loss, 1e" + "9" * 9 + "), COUNT(*) FROM persons GROUP BY 1",
        "SELECT " + ", ".join(f"COUNT_IF(day = '2025-01-{at:02}')" for at in range(1, 18)) + " FROM events",
    ],
)  # fmt: skip
def test_what_is_too_deep_or_too_large_is_refused(sql):
    """Neither depth nor size of a statement ends in anything but a refusal."""
    with pytest.raises(QuestionRefused):
        parse_sql(sql, CONTRACTS, FORCES)


@pytest.mark.parametrize(
    "sql",
    [
        "", "SELECT * FROM events", "SELECT person FROM persons", "SELECT COUNT(*) FROM nothing",
        "SELECT COUNT(*) FROM events; SELECT 1", "DELETE FROM events", "SELECT COUNT(*) FROM events TABLESAMPLE (10 PERCENT)",
        "SELECT COUNT(*) FROM events e JOIN persons p ON 1 = 1", "SELECT COUNT(*) FROM events WHERE colour = 'green'",
        "SELECT COUNT(*) FROM events WHERE force = 'nowhere'", "SHOW TABLES", "SELECT COUNT(*) FROM events LIMIT 10 PERCENT",
        "SELECT COUNT(*) FROM events LIMIT 3 BY colour", "SELECT /*+ x */ COUNT(*) FROM events", "SELECT SUM(loss ORDER BY loss) FROM persons",
        "SELECT COUNT(*) IGNORE NULLS FROM events", "SELECT COUNT(* EXCLUDE colour) FROM events", "SELECT MAX(loss, 2) FROM persons",
        "SELECT COUNT(loss, role) FROM persons", "SELECT COUNT(*) FROM events FOR UPDATE", "SELECT COUNT(*):n FROM events",
        "SELECT colour, COUNT(*) FROM events GROUP BY DISTINCT colour", "SELECT COUNT(*) FROM events GROUP BY ALL",
        "SELECT colour, COUNT(*) FROM events GROUP BY colour WITH TOTALS", "SELECT COUNT(*) FROM events ORDER BY 1 NULLS LAST",
        "SELECT COUNT(*) FROM events ORDER BY 1 WITH FILL", "SELECT COUNT(*) FROM persons WHERE loss BETWEEN SYMMETRIC 3 AND 1",
        "SELECT COUNT(*) FROM events WHERE TRY_CAST('2025-01-01' AS DATE) = day", "SELECT DATE_TRUNC('month', day, 'UTC'), COUNT(*) FROM events GROUP BY 1",
        "SELECT events.colour, COUNT(*) FROM events GROUP BY 1", "SELECT events.force, COUNT(*) FROM events GROUP BY 1",
        "SELECT COUNT(*) FROM events WHERE events.force = 'kent'", "SELECT COUNT(*) / 1_000 FROM events", "SELECT 0x1F * COUNT(*) FROM events",
    ],
)  # fmt: skip
def test_nothing_of_a_statement_is_passed_over(sql):
    """What the parser knows and the subset does not is refused, wherever it stands."""
    with pytest.raises(QuestionRefused):
        parse_sql(sql, CONTRACTS, FORCES)


NOISE = (
    "+",
    "-",
    "AS",
    ",",
    ".",
    "*",
    "(",
    ")",
    "GROUP BY",
    "ONLY",
    "INT",
    "EXCEPT",
    "NOT",
    "x",
    "1",
    "IN",
    "ROWS",
    "DESC",
    "''",
)


def test_a_word_more_changes_a_statement_or_is_refused():
    """Of 2,000 statements with one word more, none is read as if that word were not there."""
    source = random.Random(9)
    for _ in range(2000):
        sql = source.choice(ACCEPTED)
        words = sql.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split()
        more = source.choice(NOISE)
        words.insert(source.randrange(len(words) + 1), more)
        try:
            read = parse_sql(" ".join(words), CONTRACTS, FORCES)
        except QuestionRefused:
            continue
        assert replace(read, sql="") != replace(parse_sql(sql, CONTRACTS, FORCES), sql=""), words


@settings(max_examples=200)
@given(values=st.integers(2, 2**40), groups=st.integers(1, 10_000))
def test_histograms_are_small_and_well_branched(values, groups):
    """Widths are multiples of each other, 2 to 16 in one, and stay under the cells and bins that a histogram may have."""
    column = Number(kind="number", name="x", title="X", unit="u", min="0", max=str(values - 1), resolution="1")
    widths = widths_for(column, groups)
    bins = [-(-values // width) for width in widths]
    if not widths:
        assert groups * min(FEWEST_BINS, values) > MOST_CELLS // 3
        return
    assert groups * sum(bins) <= MOST_CELLS
    assert min(FEWEST_BINS, values) <= bins[0] <= MOST_BINS
    assert bins[-1] <= 16
    assert all(wider % width == 0 and 2 <= wider // width <= 16 for width, wider in pairwise(widths))
