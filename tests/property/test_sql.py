"""SQL that is changed at random is read or refused, and never anything else."""

import random

import pytest
from examples import person_contract, row_contract

from cordon.errors import QuestionRefused
from cordon.query.sql import Statement, parse_sql

CONTRACTS = {"events": row_contract(), "persons": person_contract()}
FORCES = ("essex", "kent")
ACCEPTED = (
    "SELECT COUNT(*) FROM events",
    "SELECT colour, COUNT(*) FROM events WHERE day BETWEEN '2025-01-01' AND '2025-03-31' GROUP BY colour",
    (
        "SELECT force, COUNT(DISTINCT person), SUM(loss) FROM persons WHERE NOT (role = 'victim' OR loss > 10) "
        "GROUP BY force ORDER BY 2 DESC LIMIT 3"
    ),
)
BITS = ("(", ")", "'", ",", "NOT", "NULL", "*", "9999-12", "UNION", "PIVOT", "é", "--", "\0", "1e999", "colour", "::")


@pytest.mark.parametrize("sql", ACCEPTED)
def test_accepted_statements_are_read(sql):
    """What the mutations start from is within the subset."""
    assert isinstance(parse_sql(sql, CONTRACTS, FORCES), Statement)


def test_changed_statements_are_read_or_refused():
    """Of 3,000 changed statements, each is read or refused with a place inside the text."""
    source = random.Random(7)
    places = []
    for _ in range(3000):
        words = source.choice(ACCEPTED).split(" ")
        for _ in range(source.randint(1, 3)):
            at = source.randrange(len(words))
            words[at : at + source.randint(0, 1)] = [source.choice((*BITS, source.choice(words)))]
        sql = " ".join(words)
        try:
            assert isinstance(parse_sql(sql, CONTRACTS, FORCES), Statement)
        except QuestionRefused as refusal:
            places.append((refusal.start, refusal.end, len(sql)))
    assert 1000 < len(places) < 3000
    assert all(0 <= start <= end <= length for start, end, length in places)


@pytest.mark.parametrize(
    "sql",
    [
        "", "SELECT * FROM events", "SELECT person FROM persons", "SELECT COUNT(*) FROM nothing",
        "SELECT COUNT(*) FROM events; SELECT 1", "DELETE FROM events", "SELECT AVG(loss) FROM persons",
        "SELECT COUNT(*) FROM events TABLESAMPLE (10 PERCENT)", "SELECT COUNT(*) FROM events e JOIN persons p ON 1 = 1",
        "SELECT COUNT(*) FROM events WHERE colour = 'green'", "SELECT COUNT(*) FROM events WHERE force = 'nowhere'",
    ],
)  # fmt: skip
def test_what_is_outside_the_subset_is_refused(sql):
    """Nothing outside the subset is answered in part."""
    with pytest.raises(QuestionRefused):
        parse_sql(sql, CONTRACTS, FORCES)
