"""Expressions of a mapping: what they may hold, what they give, and that nothing else gets through."""

import duckdb
import ibis
import pytest

from cordon.errors import Misconfigured
from node.engine import DUCKDB
from node.expression import build, names_in

TYPES = {
    "word": "string", "gap": "string", "figures": "string", "n": "int64", "x": "float64", "yes": "boolean", "d": "date",
    "born": "string", "Odd name": "string",
}  # fmt: skip
ROW = """
SELECT ' Ab,c ' AS word, NULL::VARCHAR AS gap, '12.5' AS figures, 7::BIGINT AS n, -2.5::DOUBLE AS x, true AS yes,
       DATE '2025-03-01' AS d, '29/02/2000' AS born, 'q' AS "Odd name"
"""


def value(text):
    """What an expression gives over the one row."""
    table = ibis.table(TYPES, name="records")
    expression = build(text, {name: table[name] for name in TYPES})
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW records AS {ROW}")
        return database.execute(DUCKDB.sql(table.select(value=expression))).fetchone()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("word", "Ab,c"), ('"Odd name"', "q"), ("'it''s'", "it's"), ("NULL", None), ("3", 3), ("1.5e3", 1500.0),
        ("TRUE", True), ("(n)", 7), ("n + 1", 8.0), ("n - x * 2", 12.0), ("-n", -7.0), ("n / 2", 3.5), ("n / 0", None),
        ("figures + 1", 13.5), ("word + 1", None), ("gap + 1", None), ("TRIM(word)", "Ab,c"), ("UPPER(word)", "AB,C"),
        ("LOWER(TRIM(word))", "ab,c"), ("word || n", "Ab,c7"), ("gap || word", None), ("LENGTH(figures)", 4),
        ("SUBSTRING(figures, 1, 2)", "12"), ("SUBSTRING(figures, 3)", ".5"), ("SUBSTRING(figures FROM 2 FOR 1)", "2"),
        ("REPLACE(word, ',', '')", "Abc"), ("ROUND(x)", -3.0), ("ROUND(2.456, 1)", 2.5), ("FLOOR(x)", -3.0),
        ("ABS(x)", 2.5), ("ROUND(1e300)", 1e300), ("CAST(figures AS INTEGER)", 12), ("CAST(word AS INTEGER)", None),
        ("CAST(1e300 AS INTEGER)", None), ("CAST('nan' AS INTEGER)", None), ("CAST(n AS TEXT)", "7"),
        ("CAST(figures AS DECIMAL)", 12.5), ("COALESCE(gap, word)", "Ab,c"), ("COALESCE(gap, n)", "7"),
        ("NULLIF(n, 7)", None), ("NULLIF(figures, '99')", "12.5"),
        ("CASE WHEN n > 5 THEN 'big' ELSE 'small' END", "big"), ("CASE WHEN n < 5 THEN 'small' END", None),
        ("CASE n WHEN 6 THEN 'six' WHEN 7 THEN 'seven' END", "seven"), ("CASE WHEN gap = 'a' THEN 1 ELSE 0 END", 0),
        ("n = 7", True), ("figures = 12.5", True), ("figures > 9", True), ("word <> 'x'", True), ("gap = 'x'", False),
        ("n IN (1, 7)", True), ("TRIM(word) IN ('a', 'Ab,c')", True), ("n BETWEEN 7 AND 8", True), ("NOT n = 7", False),
        ("word LIKE 'A%'", True), ("gap IS NULL", True), ("word IS NOT NULL", True), ("gap IS NOT NULL", False), ("word NOT LIKE 'A%'", False),
        ("n NOT IN (7)", False), ("n NOT BETWEEN 7 AND 8", False), ("yes AND n = 7", True), ("CAST(yes AS INTEGER) = 1", True), ("yes = 1", True), ("yes = TRUE", True),
        ("NOT yes", False), ("n = 1 OR n = 2 OR n = 7", True), ("DATE(born, '%d/%m/%Y') < d", True),
        ("YEARS_BETWEEN(DATE(born, '%d/%m/%Y'), d)", 25), ("YEARS_BETWEEN(d, d)", 0),
        ("YEARS_BETWEEN(DATE('02/03/2000', '%d/%m/%Y'), d)", 24), ("YEARS_BETWEEN(DATE(gap), d)", None),
    ],
)  # fmt: skip
def test_an_expression_gives_what_sql_would(text, expected):
    """Over one row; what cannot be cast or divided is missing, and nothing fails."""
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "(SELECT 1)", "word FROM records", "word; DROP TABLE x", "word, n", "", " ", "*", "COUNT(*)", "SUM(n)", "MAX(n)",
        "ROW_NUMBER() OVER ()", "LAG(n) OVER (ORDER BY n)", "random()", "now()", "CURRENT_DATE", "uuid()", "version()",
        "getvariable('secret_unit_')", "getenv('HOME')", "read_csv('/etc/passwd')", "read_text('/etc/passwd')",
        "EXISTS (SELECT 1)", "n IN (SELECT 1)", "word AS other", "records.word", "main.records.word", "DISTINCT word",
        "word COLLATE nocase", "word ~ 'a'", "word ILIKE 'a'", "word SIMILAR TO 'a'", "[1, 2]", "{'a': 1}", "n[1]", "$1",
        ":name", "?", "INTERVAL '1 day'", "d + INTERVAL '1 day'", "CAST(word AS DATE)", "CAST(word AS BLOB)", "n % 2",
        "n ^ 2", "n << 1", "word LIKE n", "REPLACE(word, n, '')", "SUBSTRING(word, n)", "SUBSTRING(word, -1)",
        "TRIM(BOTH 'x' FROM word)", "gap IS TRUE", "word IS DISTINCT FROM gap",
        "n BETWEEN SYMMETRIC 8 AND 1", "word LIKE 'a' ESCAPE 'b'", "word LIKE ANY (ARRAY['a'])", "CAST(n AS TEXT FORMAT 'x')",
        "TRIM(LEADING FROM word)", "CAST(word AS VARCHAR(2))", "CAST(n AS INTEGER[])", "lambda x: x", "YEARS_BETWEEN(d)",
        "sleep(10)", "word WHERE true", "word LIMIT 1", "word UNION SELECT 1", "word -- \n; SELECT 2", "no_such", "WORD",
        "(" * 3000 + "n" + ")" * 3000, "n" + " + n" * 2000,
    ],
)  # fmt: skip
def test_nothing_else_gets_through(text):
    """Another row, table, file, clock, secret or lot, and every part that is not on the list, is refused in words."""
    with pytest.raises(Misconfigured):
        value(text)


def test_names_are_those_of_columns():
    """In the order in which they stand, each once."""
    assert names_in("""CASE WHEN b = 'a' THEN "c d" ELSE b || e END""") == ("b", "c d", "e")
    assert names_in("'a'") == ()
