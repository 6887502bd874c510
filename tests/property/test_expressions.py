"""Random expressions of a mapping mean the same in the engine as in plain Python, in two-valued logic."""

import math
import operator
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import duckdb
import ibis
import pytest

from node.engine import DUCKDB
from node.expression import build

TYPES = {"n": "int64", "a": "float64", "s": "string", "u": "string", "f": "boolean"}
ROWS = [
    dict(zip(TYPES, row, strict=True))
    for row in product((None, -3, 7), (None, 0.0, 2.5), (None, " Y", "x_%", " "), ("7 ", "no"), (None, True, False))
]
COMPARISONS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
WORDS = {"t": True, "true": True, "y": True, "yes": True, "1": True, "f": False, "false": False, "n": False, "no": False, "0": False}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """An expression, and what it is of a row."""

    sql: str
    of: Callable[[dict[str, Any]], Any]


def present(text):
    """A text without blanks at its ends; None where nothing is left."""
    return None if text is None else text.strip() or None


def as_text(value):
    """As the engine writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else None if value is None else str(value)


def as_number(value):
    """A text's number; None where it is none."""
    if not isinstance(value, str):
        return value
    return float(value) if re.fullmatch(r"[+-]?\d+(\.\d*)?", value.strip()) else None


def as_truth(value):
    """A text's truth value; None where it is none."""
    return WORDS.get(value.strip().lower()) if isinstance(value, str) else value


def alike(left, right):
    """Two values as they are compared."""
    kinds = {bool if isinstance(value, bool) else str if isinstance(value, str) else float for value in (left, right)}
    if kinds == {str}:
        return present(left), present(right)
    if bool in kinds and float not in kinds:
        return as_truth(left), as_truth(right)
    return as_number(left), as_number(right)


def compared(left, right, how):
    """False where one is missing."""
    if left is None or right is None:
        return False
    left, right = alike(left, right)
    return left is not None and right is not None and COMPARISONS[how](left, right)


def like(text, pattern):
    """SQL's LIKE, of a text that is there."""
    form = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return present(text) is not None and re.fullmatch(form, present(text), re.DOTALL) is not None


def on(apply, *parts):
    """Of values that are all there."""

    def of(row):
        values = [part.of(row) for part in parts]
        return None if None in values else apply(*values)

    return of


class Maker:
    """Makes expressions of a kind, so many levels deep."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def column(self, *names: str) -> Part:
        """One of these columns."""
        name = self.random.choice(names)
        return Part(name, lambda row: present(row[name]) if TYPES[name] == "string" else row[name])

    def literal(self, *texts: str) -> Part:
        """One of these literals."""
        text = self.random.choice(texts)
        value = text[1:-1] if text[0] == "'" else float(text) if "." in text else int(text)
        return Part(text, lambda _: value)

    def any(self, *makes: Callable[[], Part]) -> Part:
        """One of these, in parentheses."""
        made = self.random.choice(makes)()
        return Part(f"({made.sql})", made.of)

    def choice(self, kind: Callable[[int], Part], deep: int) -> Part:
        """CASE, COALESCE or NULLIF of one kind."""
        when, one, other = self.condition(deep), kind(deep), kind(deep)

        def coalesced(row):
            value = one.of(row)
            return other.of(row) if value is None or value == "" else value

        return self.random.choice([
            Part(f"CASE WHEN {when.sql} THEN {one.sql} ELSE {other.sql} END", lambda row: (one if when.of(row) else other).of(row)),
            Part(f"CASE WHEN {when.sql} THEN {one.sql} END", lambda row: one.of(row) if when.of(row) else None),
            Part(f"COALESCE({one.sql}, {other.sql})", coalesced),
            Part(f"NULLIF({one.sql}, {other.sql})", lambda row: None if compared(one.of(row), other.of(row), "=") else one.of(row)),
        ])  # fmt: skip

    def number(self, deep: int) -> Part:
        """A number."""
        if deep <= 0:
            return self.random.choice([self.column("n", "a"), self.literal("1", "2.5", "0")])
        one, other, text = self.number(deep - 1), self.number(deep - 1), self.text(deep - 1)
        return self.any(
            lambda: Part(f"{one.sql} + {other.sql}", on(operator.add, one, other)),
            lambda: Part(f"{one.sql} - {other.sql}", on(operator.sub, one, other)),
            lambda: Part(f"{one.sql} * {other.sql}", on(operator.mul, one, other)),
            lambda: Part(f"{one.sql} / {other.sql}", on(lambda x, y: x / y if y else None, one, other)),
            lambda: Part(f"-{one.sql}", on(operator.neg, one)),
            lambda: Part(f"ABS({one.sql})", on(abs, one)),
            lambda: Part(f"FLOOR({one.sql})", on(math.floor, one)),
            lambda: Part(f"LENGTH({text.sql})", on(len, text)),
            lambda: self.choice(self.number, deep - 1),
        )

    def text(self, deep: int) -> Part:
        """A text."""
        if deep <= 0:
            return self.random.choice([self.column("s", "u"), self.literal("'Y'", "'x'", "' 7'")])
        one, other = self.text(deep - 1), self.text(deep - 1)
        start, length = self.random.choice([1, 2]), self.random.choice([0, 1, 2])
        return self.any(
            lambda: Part(f"{one.sql} || {other.sql} || 'x'", on(lambda x, y: x + y + "x", one, other)),
            lambda: Part(f"UPPER({one.sql})", on(str.upper, one)),
            lambda: Part(f"TRIM({one.sql})", on(present, one)),
            lambda: Part(f"SUBSTRING({one.sql}, {start}, {length})", on(lambda x: x[start - 1 :][:length], one)),
            lambda: Part(f"REPLACE({one.sql}, 'Y', 'no')", on(lambda x: x.replace("Y", "no"), one)),
            lambda: Part("CAST(a AS TEXT)", lambda row: as_text(row["a"])),
            lambda: self.choice(self.text, deep - 1),
        )

    def condition(self, deep: int) -> Part:
        """A condition, or a truth value."""
        if deep <= 0:
            return self.column("f")
        kind, how = self.random.choice([self.number, self.text, self.number]), self.random.choice([*COMPARISONS])
        one, other, third = kind(deep - 1), kind(deep - 1), kind(0)
        first, second, text = self.condition(deep - 1), self.condition(deep - 1), self.text(deep - 1)
        pattern = self.random.choice(["Y%", "_", "x_%", "%n%"])

        def either(row):
            return any(compared(one.of(row), value.of(row), "=") for value in (other, third))

        def between(row):
            return compared(one.of(row), other.of(row), ">=") and compared(one.of(row), third.of(row), "<=")

        def missing(row):
            value = one.of(row)
            return (present(value) if isinstance(value, str) else value) is None

        return self.any(
            lambda: Part(f"{one.sql} {how} {other.sql}", lambda row: compared(one.of(row), other.of(row), how)),
            lambda: Part(f"{one.sql} <> {other.sql}", lambda row: not compared(one.of(row), other.of(row), "=")),
            lambda: Part(f"u {how} n", lambda row: compared(row["u"], row["n"], how)),
            lambda: Part(f"{first.sql} AND {second.sql}", lambda row: bool(first.of(row)) and bool(second.of(row))),
            lambda: Part(f"{first.sql} OR {second.sql}", lambda row: bool(first.of(row)) or bool(second.of(row))),
            lambda: Part(f"NOT {first.sql}", lambda row: not first.of(row)),
            lambda: Part(f"(NOT {first.sql}) = {second.sql}", lambda row: compared(not first.of(row), second.of(row), "=")),
            lambda: Part(f"{first.sql} = {second.sql}", lambda row: compared(first.of(row), second.of(row), "=")),
            lambda: Part(f"{first.sql} = {text.sql}", lambda row: compared(first.of(row), text.of(row), "=")) if not text.sql.startswith("'") else first,
            lambda: Part(f"{one.sql} IN ({other.sql}, {third.sql})", either),
            lambda: Part(f"{one.sql} NOT IN ({other.sql}, {third.sql})", lambda row: not either(row)),
            lambda: Part(f"{one.sql} BETWEEN {other.sql} AND {third.sql}", between),
            lambda: Part(f"{one.sql} NOT BETWEEN {other.sql} AND {third.sql}", lambda row: not between(row)),
            lambda: Part(f"{text.sql} LIKE '{pattern}'", lambda row: like(text.of(row), pattern)),
            lambda: Part(f"{text.sql} NOT LIKE '{pattern}'", lambda row: not like(text.of(row), pattern)),
            lambda: Part(f"{one.sql} IS NULL", missing),
            lambda: Part(f"{one.sql} IS NOT NULL", lambda row: not missing(row)),
        )  # fmt: skip


@pytest.fixture(scope="module")
def database():
    """The rows, in order."""
    with duckdb.connect() as opened:
        opened.execute("CREATE TABLE records (n BIGINT, a DOUBLE, s VARCHAR, u VARCHAR, f BOOLEAN)")
        opened.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", [list(row.values()) for row in ROWS])
        yield opened


@pytest.mark.parametrize("seed", range(6))
def test_an_expression_means_what_python_makes_of_it(database, seed):
    """Of every row, a random expression gives the same value, and a condition is never missing."""
    maker, table = Maker(seed), ibis.table(TYPES, name="records")
    kinds = (maker.number, maker.text, maker.condition, maker.condition)
    made = {f"v{at}": kinds[at % len(kinds)](1 + at % 3) for at in range(24)}
    columns = {name: table[name] for name in TYPES}
    values = {name: build(part.sql, columns) for name, part in made.items()}
    found = database.execute(DUCKDB.sql(table.select(**values)))
    names = [column[0] for column in found.description]
    for row, got in zip(ROWS, found.fetchall(), strict=True):
        for name, value in zip(names, got, strict=True):
            assert value == made[name].of(row), (made[name].sql, row)
