"""Types of databases, by the words that their drivers use, as types of DuckDB."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from types import NoneType

_TYPES = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"(tinyint|smallint|int|integer|bigint|int[248]|long|short|byte)$", "BIGINT"),
        (r"hugeint$", "HUGEINT"),
        (r"(real|float|double|double precision|float[48])$", "DOUBLE"),
        (r"bool(ean)?$", "BOOLEAN"),
        (r"date$", "DATE"),
        (r"timestamptz|timestamp(\(\d+\))? with time zone|datetimeoffset", "TIMESTAMP WITH TIME ZONE"),
        (r"(timestamp|datetime)(\(\d+\))?( without time zone)?$|timestamp_ntz$", "TIMESTAMP"),
    )
)
_DECIMAL = re.compile(r"(?:decimal|numeric)\((\d+),\s*(\d+)\)$")
_TEXT = re.compile(r"(text|varchar|char|character varying|character|bpchar|name|str|string)\b")
_KEYS = re.compile(r"(decimal|numeric)\b(?!\(\d+,\s*[1-9])")


def duckdb_type(words: str) -> str:
    """DuckDB's type for a source's; VARCHAR for what it has none for, and for decimals without declared digits.

    Such a decimal is often a record's number, which text keeps as it is.
    """
    words = words.lower().strip()
    decimal = _DECIMAL.match(words)
    # PostgreSQL's and Oracle's numeric(3,5) is for 0.00123; DuckDB's decimals hold all digits of their scale.
    if decimal and 1 <= int(decimal[1]) <= 38 and int(decimal[2]) <= int(decimal[1]):
        return f"DECIMAL({decimal[1]},{decimal[2]})"
    return next((kind for pattern, kind in _TYPES if pattern.match(words)), "VARCHAR")


def travels_as_it_is(words: str) -> bool:
    """Whether a driver's own value of this type is to be had and exact everywhere: texts, floats and truth values.

    Whole numbers would be too, but a server makes text of them faster than Python does.
    """
    return bool(_TEXT.match(words.lower())) or duckdb_type(words) in {"DOUBLE", "BOOLEAN"}


def can_be_key(words: str) -> bool:
    """Whether a column of this type holds whole numbers, or may."""
    return duckdb_type(words) in {"BIGINT", "HUGEINT"} or words == "any" or bool(_KEYS.match(words.lower()))


def texts(values: Sequence[object]) -> Sequence[object]:
    """A column's values as texts that DuckDB casts back exactly; None stays."""
    if set(map(type, values)) <= {str, NoneType}:
        return values
    return [value if value is None or type(value) is str else _text(value) for value in values]


def _text(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return str(value)
