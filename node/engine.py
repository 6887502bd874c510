"""The few functions that engines name differently; everything else is compiled from one ibis expression.

A snapshot is made and asked by the same expressions in DuckDB and in a distributed engine. DuckDB is the measure:
where an engine is more or less lenient with a text, what it takes is narrowed or widened here to what DuckDB takes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, Signature
from typing import Any

import ibis
import sqlglot
from sqlglot import expressions as sql

from node.dates import iso_of

HEX_DIGITS = 15
"""Of a hash that make one stored integer: 60 bits, below the sign of 64."""

BLANKS = " \t\n\r\v\f\u00a0\u200b\ufeff"
"""What is no part of a text at its ends: blanks, also the one that does not break, and marks without width."""

FIRST_VISIBLE = "!"
"""The first character of ASCII that is no blank."""

SECRET = "secret_"  # noqa: S105 - a name, not a secret
"""DuckDB's variables and Spark's parameters that hold secrets begin so."""

_DIGITS = "[0-9]+(?:_[0-9]+)*"
_NUMBER = (
    f"^(?:[+]?-|[+])?(?:(?:{_DIGITS}[.]?(?:{_DIGITS})?|[.]{_DIGITS})(?:[eE][+-]?{_DIGITS})?|(?i:nan|inf|infinity))$"
)
"""What DuckDB takes as a number: digits may be parted by `_`, and no letter of Java's stands behind them."""

_WHOLE_IN_FLOAT = float(2**53)
"""From here on every float is a whole number."""

_SCIENTIFIC = 1e16
"""From here on floats are written with an exponent."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine's own functions, as ibis expressions."""

    dialect: str
    """ibis's name of it."""

    def sql(self, expression: Any) -> str:
        """An ibis expression as a statement of this engine."""
        return str(ibis.to_sql(expression, dialect=self.dialect))

    def time_of(self, text: Any, formats: Sequence[str]) -> Any:
        """The time stamp that a text holds in the first of the formats that fits; null where none does."""
        raise NotImplementedError

    def civil_time(self, instant: Any, zone: str) -> Any:
        """The local time in a zone at an instant."""
        raise NotImplementedError

    def instant_of(self, text: Any) -> Any:
        """The instant of a whole ISO 8601 text, in UTC where it has no offset; null where there is none."""
        return text.try_cast("timestamp('UTC')")

    def number_of(self, text: Any) -> Any:
        """The number that a text without blanks around holds; null where it holds none."""
        raise NotImplementedError

    def text_of(self, value: Any) -> Any:
        """A value as text: whole numbers without places, also where they are floats."""
        if not value.type().is_floating():
            return value if value.type().is_string() else value.cast("string")
        # Identifiers and codes that a source holds as floats are the same ones that another holds as texts.
        whole = (value.abs() < _SCIENTIFIC) & (function("floor", ("float64",), "float64")(value) == value)
        plain = value.try_cast("int64").cast("string")
        return ibis.cases((whole, plain), *self._not_finite(value), else_=value.cast("string"))

    def _not_finite(self, _value: Any) -> list[Any]:
        """Floats without digits and their texts, where the engine does not write them as DuckDB does."""
        return []

    def trimmed(self, text: Any) -> Any:
        """A text without `BLANKS` at both ends; null where nothing is left."""
        raise NotImplementedError

    def digest(self, text: Any) -> Any:
        """SHA-256 of a text in UTF-8, as 64 small hexadecimal digits."""
        return text.hexdigest("sha256")

    def whole(self, digits: Any) -> Any:
        """The integer that `HEX_DIGITS` hexadecimal digits stand for."""
        raise NotImplementedError

    def secret(self, name: str, value: str) -> Any:
        """A secret text inside a statement, where the engine knows it as `SECRET` and its name, if it can."""
        raise NotImplementedError

    def row_number(self, rows: Any) -> Any:
        """A number that no other row of a stored table has; 0 or more."""
        raise NotImplementedError


class DuckDb(Engine):
    """DuckDB: the default."""

    def time_of(self, text: Any, formats: Sequence[str]) -> Any:
        return function("try_strptime", ("string", "array<string>"), "timestamp")(text, list(formats))

    def civil_time(self, instant: Any, zone: str) -> Any:
        return function("timezone", ("string", "timestamp('UTC')"), "timestamp")(zone, instant)

    def number_of(self, text: Any) -> Any:
        return text.try_cast("float64")

    def trimmed(self, text: Any) -> Any:
        # Trimming by a set of characters takes ten times as long as reading the text: most texts are ASCII, begin and
        # end with a visible character, and need none.
        ascii_only = function("strlen", ("string",), "int64")(text) == function("length", ("string",), "int64")(text)
        last = function("array_extract", ("string", "int32"), "string")(text, -1)
        bare = (text >= FIRST_VISIBLE) & ascii_only & (last >= FIRST_VISIBLE)
        trimmed = function("trim", ("string", "string"), "string")(text, BLANKS)
        return ibis.cases((bare, text), else_=trimmed).nullif("")

    def whole(self, digits: Any) -> Any:
        return (ibis.literal("0x") + digits).cast("int64")

    def secret(self, name: str, value: str) -> Any:
        # A variable of the session: a statement's text may be quoted in an error, and no key must be in it.
        return function("getvariable", ("string",), "string")(SECRET + name)

    def row_number(self, rows: Any) -> Any:
        return rows.rowid()


class Distributed(Engine):
    """What Spark and Trino have in common."""

    def sql(self, expression: Any) -> str:
        """An ibis expression as a statement; compiled without the engine's driver."""
        compiler = importlib.import_module(f"ibis.backends.sql.compilers.{self.dialect}").compiler
        if ibis.options.pyspark is None:
            # ibis registers these with a driver of its own, which is not used here.
            ibis.options.pyspark = _SparkOptions()
        written = compiler.to_sqlglot(expression).transform(_exact)
        return str(written.sql(dialect=compiler.dialect, pretty=True))

    def translated(self, statement: str, tables: Mapping[str, tuple[str, ...]]) -> str:
        """A statement for DuckDB, of ours, in this engine's words, and over this engine's tables of other names."""
        parsed = sqlglot.parse_one(statement, read="duckdb")
        for table in list(parsed.find_all(sql.Table)):
            if table.name in tables:
                parts = [sql.to_identifier(part, quoted=True) for part in tables[table.name]]
                table.replace(sql.Table(this=parts[-1], db=parts[0] if len(parts) > 1 else None))
        return str(parsed.sql(dialect=self._grammar))

    def name(self, *parts: str) -> str:
        """A table's or column's name, quoted."""
        return ".".join(sql.to_identifier(part, quoted=True).sql(dialect=self._grammar) for part in parts)

    def literal(self, text: str) -> str:
        """A text, quoted."""
        return sql.Literal.string(text).sql(dialect=self._grammar)

    def type(self, kind: str) -> str:
        """An ibis type in this engine's words."""
        words = {"string": "text", "int64": "bigint", "float64": "double"}.get(kind, kind)
        return str(sql.DataType.build(words).sql(dialect=self._grammar))

    def takes(self, name: str, statement: str) -> bool:
        """Whether a statement has the parameter of a secret."""
        return f":{SECRET}{name}" in statement

    @property
    def _grammar(self) -> str:
        return "spark" if self.dialect == "pyspark" else self.dialect

    def time_of(self, text: Any, formats: Sequence[str]) -> Any:
        return ibis.coalesce(*(iso_of(text, form).try_cast("timestamp") for form in formats))

    def number_of(self, text: Any) -> Any:
        plain = text.replace("_", "").replace("+-", "-").try_cast("float64")
        return ibis.cases((text.re_search(_NUMBER), plain), else_=ibis.null("float64"))

    def instant_of(self, text: Any) -> Any:
        # Before an offset, seconds must stand.
        short = text.re_search("^.{16}[Z+-]")
        filled = text.substr(0, 16) + ":00" + text.substr(16)
        return Engine.instant_of(self, ibis.cases((short, filled), else_=text))

    def text_of(self, value: Any) -> Any:
        if value.type().is_timestamp() and value.type().timezone is not None:
            return value.cast("string") + "+00"
        return Engine.text_of(self, value)

    def _not_finite(self, value: Any) -> list[Any]:
        return [(value.isnan(), "nan"), *((value == float(name), name) for name in ("inf", "-inf"))]

    def trimmed(self, text: Any) -> Any:
        return text.re_replace(f"^[{BLANKS}]+|[{BLANKS}]+$", "").nullif("")


class Spark(Distributed):
    """Apache Spark, from version 4. The cluster and its logs are within the force's trust."""

    def civil_time(self, instant: Any, zone: str) -> Any:
        return function("from_utc_timestamp", ("timestamp", "string"), "timestamp")(instant.cast("timestamp"), zone)

    def whole(self, digits: Any) -> Any:
        return function("conv", ("string", "int32", "int32"), "string")(digits, 16, 10).cast("int64")

    def secret(self, name: str, value: str) -> Any:
        # A parameter of the statement, so that its text, which Spark logs and quotes, holds no key.
        return ibis.literal(f":{SECRET}{name}")

    def sql(self, expression: Any) -> str:
        """An ibis expression as a statement; a secret in it is a parameter."""
        return re.sub(f"':({SECRET}[a-z0-9_]+)'", r":\1", Distributed.sql(self, expression))

    def row_number(self, rows: Any) -> Any:
        return function("monotonically_increasing_id", (), "int64")()


class Trino(Distributed):
    """Trino. Compiled and tested by its text alone: no server was at hand."""

    def civil_time(self, instant: Any, zone: str) -> Any:
        moved = function("at_timezone", ("timestamp('UTC')", "string"), "timestamp('UTC')")(instant, zone)
        return moved.cast("timestamp")

    def digest(self, text: Any) -> Any:
        raw = function("sha256", ("binary",), "binary")(function("to_utf8", ("string",), "binary")(text))
        return function("to_hex", ("binary",), "string")(raw).lower()

    def whole(self, digits: Any) -> Any:
        return function("from_base", ("string", "int32"), "int64")(digits, 16)

    def secret(self, name: str, value: str) -> Any:
        return ibis.literal(value)

    def row_number(self, rows: Any) -> Any:
        return ibis.row_number().over()


DUCKDB = DuckDb("duckdb")
SPARK = Spark("pyspark")
TRINO = Trino("trino")


@cache
def function(name: str, arguments: tuple[str, ...], result: str) -> Any:
    """A function of the engine by its own name, with the ibis types of its arguments and result."""

    def body(*values: Any) -> None: ...

    # ibis counts the arguments of a function in its signature.
    body.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(f"value_{at}", Parameter.POSITIONAL_OR_KEYWORD) for at in range(len(arguments))]
    )
    return ibis.udf.scalar.builtin(body, name=name, signature=(arguments, result))


def floor_of(number: Any) -> Any:
    """The whole number below a float, as a float; what is none, and what has no places, stays as it is."""
    # The engine's own function: ibis makes an integer of it. So do engines, which fails beyond 64 bits.
    below = function("floor", ("float64",), "float64")(number)
    return ibis.cases((number.abs() < _WHOLE_IN_FLOAT, below), else_=number)


class _SparkOptions(ibis.config.Config):  # type: ignore[misc]
    treat_nan_as_null: bool = False


def _exact(node: Any) -> Any:
    """Numbers with places are floats in DuckDB and decimals in Spark: say what they are."""
    if isinstance(node, sql.Literal) and not node.is_string and not isinstance(node.parent, sql.Cast):
        return node if node.this.isdecimal() else sql.cast(node, "double")
    return node
