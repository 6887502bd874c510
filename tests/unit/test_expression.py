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


MEANINGS = [
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
]  # fmt: skip


def test_an_expression_gives_what_sql_would():
    """Over one row; what cannot be cast or divided is missing, and nothing fails."""
    table = ibis.table(TYPES, name="records")
    columns = {name: table[name] for name in TYPES}
    made = {f"v{at}": build(text, columns) for at, (text, _) in enumerate(MEANINGS)}
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW records AS {ROW}")
        found = database.execute(DUCKDB.sql(table.select(**made))).fetchone()
    assert dict(zip([text for text, _ in MEANINGS], found, strict=True)) == dict(MEANINGS)


TYPED = {
    "word": "string", "gap": "string", "blank": "string", "id": "int64", "near": "int64", "most": "int64", "x": "float64",
    "yes": "boolean", "none": "boolean", "d": "date", "t": "timestamp", "z": "timestamp('UTC')", "long": "string",
}  # fmt: skip
TYPED_ROW = """
SELECT ' \u00a0Y\u200b ' AS word, NULL::VARCHAR AS gap, '  ' AS blank, 9007199254740993 AS id, 9007199254740992 AS near,
       9223372036854775807 AS most, 5.0::DOUBLE AS x, true AS yes, NULL::BOOLEAN AS "none", DATE '2025-03-01' AS d,
       TIMESTAMP '2025-03-01 14:05:00' AS t, TIMESTAMPTZ '2025-03-01 23:30:00+00' AS z, '9007199254740993' AS long
"""


def values(*texts):
    """What expressions give over one row of typed columns, by one statement."""
    table = ibis.table(TYPED, name="records")
    columns = {name: table[name] for name in TYPED}
    made = {f"v{at}": build(text, columns) for at, text in enumerate(texts)}
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute(f"CREATE VIEW records AS {TYPED_ROW}")
        return dict(zip(texts, database.execute(DUCKDB.sql(table.select(**made))).fetchone(), strict=True))


def test_a_missing_value_is_equal_to_nothing():
    """Comparisons with one are false, their negations true; and what is negated ends where it ends."""
    true = [
        "gap <> 'N'", "NOT (gap = 'N')", "NOT gap = 'N'", "gap NOT IN ('N', 'X')", "gap NOT LIKE 'N%'", "gap <> gap",
        "blank <> 'N'", "blank IS NULL", "gap NOT BETWEEN 'a' AND 'b'", "NOT none", "none <> TRUE", "NOT (none AND yes)",
        "(NOT none) = yes", "(NOT yes) = FALSE", "(word NOT IN ('N')) = TRUE", "NOT yes = FALSE", "NULL <> 1",
        "REPLACE(word, 'Y', '') IS NULL", "gap <> 5", "NOT id = NULL",
    ]  # fmt: skip
    false = [
        "gap = 'N'", "gap = gap", "gap < 'N'", "gap IN ('N')", "gap LIKE '%'", "gap BETWEEN 'a' AND 'b'", "none", "yes AND none",
        "(NOT yes) = yes", "blank = gap", "none = FALSE", "CASE WHEN gap = 'a' THEN yes ELSE FALSE END", "gap = 5",
    ]  # fmt: skip
    assert values(*true) == dict.fromkeys(true, True)
    assert values(*(f"NOT NOT ({text})" for text in false)) == {f"NOT NOT ({text})": False for text in false}


def test_texts_are_compared_without_blanks_and_with_the_other_kind():
    """As columns feed a contract; words stand for truth values, and texts for numbers and days, as they do there."""
    true = [
        "word = 'Y'", "word = ' Y '", "word LIKE 'Y'", "word IN ('X', 'Y')", "word = TRUE", "word = yes", "yes = 'Y'", "yes = 'true'", "yes = '1'",
        "yes = ' T '", "yes <> 'no'", "'Y' = yes", "yes = 1", "x = '5'", "x = ' 5.0 '", "CAST(x AS TEXT) = '5'", "x LIKE '5'",
        "'2025-03-01' = d", "d >= '2025-03-01'", "t = '2025-03-01'", "t <= '2025-03-01'", "t BETWEEN '2025-03-01' AND '2025-03-01'",
        "t = '2025-03-01 14:05'", "t < '2025-03-01T14:05:01'", "z = '2025-03-01'", "z = '2025-03-02T00:30:00+01:00'",
        "z = '2025-03-01 23:30:00+00:00'", "t < z", "d = t", "d = z", "CASE WHEN word THEN 1 END = 1", "CASE WHEN gap THEN 1 ELSE 2 END = 2",
        "NULLIF(word, '') = 'Y'", "COALESCE(blank, 'X') = 'X'", "CASE d WHEN '2025-03-01' THEN yes END",
    ]  # fmt: skip
    assert values(*true) == dict.fromkeys(true, True)
    expected = {
        "word || '-'": "Y-",
        "COALESCE(word || ' ', '') || id": "Y 9007199254740993",
        "blank": None,
        "TRIM(' a ')": "a",
    }
    assert values(*expected) == expected


def test_whole_numbers_stay_whole_and_no_value_makes_a_statement_fail():
    """Two numbers that a float cannot tell apart stay two; what 64 bits do not hold is missing."""
    same = ["COALESCE(id, 0)", "CASE WHEN id IS NULL THEN 0 ELSE id END", "CAST(id AS INTEGER)", "id + 0", "0 - -id", "id * 1",
            "CAST(long AS INTEGER)", "ABS(id)", "ABS(-id)", "FLOOR(id)", "ROUND(id, 2)", "9007199254740993", "CAST(id AS DECIMAL)",
            "CASE WHEN yes THEN id ELSE NULL END", "NULLIF(id, near)"]  # fmt: skip
    assert values(*same) == dict.fromkeys(same, 9007199254740993)
    true = ["id <> near", "id > near", "id IN (9007199254740993)", "near <> 9007199254740993", "long = 9007199254740993",
            "long <> 9007199254740992", "long = id", "long <> near", "id = '9007199254740993'", "near <> '9007199254740993'"]  # fmt: skip
    assert values(*true) == dict.fromkeys(true, True)
    beyond = [
        "most + 1",
        "most * most",
        "-most - 2",
        "most * -2 * 3",
        "CAST(1e30 AS INTEGER)",
        "CAST('9223372036854775808' AS INTEGER)",
    ]
    assert values(*beyond) == dict.fromkeys(beyond)
    assert values("-9223372036854775808", "1e300 * 1e300") == {
        "-9223372036854775808": -(2**63),
        "1e300 * 1e300": float("inf"),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("yes = 'maybe'", "'maybe'"), ("yes IN ('Y', 'P')", "'P'"), ("CASE yes WHEN 'S' THEN 1 END", "'S'"), ("x = 'five'", "'five'"),
        ("d = '01/03/2025'", "a date with '01/03/2025'"), ("d = '2025-03'", "'2025-03'"), ("d = '2025-02-30'", "'2025-02-30'"),
        ("d = '2025-03-01 00:00'", "a date with"), ("t > '01/03/2025 14:05'", "time stamp"), ("t = '2025-03-01 14:05Z'", "time stamp"),
        ("t = 5", "day with a number"), ("d = yes", "day with a truth value"), ("gap = ''", "empty"), ("word IN ('', 'Y')", "empty"),
        ("COALESCE(gap, '') = ' '", "empty"), ("(yes = TRUE) IS NULL", "condition is missing"), ("(NOT yes) IS NOT NULL", "condition is missing"),
        ("(word NOT IN ('N')) IS NULL", "condition is missing"), ("word LIKE '100\\%'", "may not"), ("DATE(5)", "number as a date"),
        ("DATE(x)", "number as a date"), ("YEARS_BETWEEN(id, d)", "number as a date"), ("YEARS_BETWEEN(yes, d)", "truth value as a date"),
        ("ROUND(x, 99999999999999999999)", "may not"), ("ROUND(x, 16)", "may not"), ("SUBSTRING(word, 99999999999999999999)", "columns"),
        ("9223372036854775808", "64 bits"), ("-9223372036854775809", "64 bits"), ("1e400", "64 bits"), ("DATE(word, '')", "no letter"),
        ("DATE(word, '%Q')", "not known"), ("DATE(word, '%')", "not known"), ("x" + " - x" * 200, "too much within"),
        ("FLOOR(" * 12 + "word" + ")" * 12, "too long"), ("NOT " * 300 + "yes", ""), ("-" + " -" * 1500 + " x", ""),
    ],
)  # fmt: skip
def test_what_could_never_hold_or_be_compiled_is_refused_in_words(text, told):
    """Typed columns are compared with what they can be equal to, and nothing ends in a traceback."""
    with pytest.raises(Misconfigured) as refused:
        values(text)
    assert told in str(refused.value)


def test_long_chains_and_lists_compile():
    """Hundreds of parts beside one another are no depth."""
    long = [
        "word" + " || word" * 90 + " = 'x'",
        " OR ".join(f"word = '{at}'" for at in range(200)),
        "word IN ('" + "', '".join(map(str, range(400))) + "')",
    ]
    table = ibis.table(TYPED, name="records")
    for text in long:
        assert str(build(text, {name: table[name] for name in TYPED}).type()).endswith("boolean")


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
    table = ibis.table(TYPES, name="records")
    with pytest.raises(Misconfigured):
        build(text, {name: table[name] for name in TYPES})


def test_names_are_those_of_columns():
    """In the order in which they stand, each once."""
    assert names_in("""CASE WHEN b = 'a' THEN "c d" ELSE b || e END""") == ("b", "c d", "e")
    assert names_in("'a'") == ()
