"""The few functions that engines name differently; everything else is compiled from one ibis expression.

A snapshot is made and asked by the same expressions in DuckDB and in a distributed engine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

import ibis

from node.dates import DIRECTIVES

HEX_DIGITS = 15
"""Of a hash that make one stored integer: 60 bits, below the sign of 64."""

SECRET = "secret_"  # noqa: S105 - a name, not a secret
"""DuckDB's variables that hold secrets begin so."""


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
        """The instant of an ISO 8601 text, in UTC where it has no offset; null where it is none."""
        raise NotImplementedError

    def whole(self, digits: Any) -> Any:
        """The integer that `HEX_DIGITS` hexadecimal digits stand for."""
        raise NotImplementedError

    def secret(self, name: str, value: str) -> Any:
        """A secret text inside a statement, where DuckDB knows it as the variable `secret_` and its name."""
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

    def instant_of(self, text: Any) -> Any:
        return text.try_cast("timestamp('UTC')")

    def whole(self, digits: Any) -> Any:
        return (ibis.literal("0x") + digits).cast("int64")

    def secret(self, name: str, value: str) -> Any:
        # A variable of the session: a statement's text may be quoted in an error, and no key must be in it.
        return function("getvariable", ("string",), "string")(SECRET + name)

    def row_number(self, rows: Any) -> Any:
        return rows.rowid()


class Spark(Engine):
    """Apache Spark. Its statements hold the keys: the cluster and its logs are within the force's trust."""

    def time_of(self, text: Any, formats: Sequence[str]) -> Any:
        parse = function("try_to_timestamp", ("string", "string"), "timestamp")
        return ibis.coalesce(*(parse(text, _java_pattern(form)) for form in formats))

    def civil_time(self, instant: Any, zone: str) -> Any:
        return function("from_utc_timestamp", ("timestamp", "string"), "timestamp")(instant.cast("timestamp"), zone)

    def instant_of(self, text: Any) -> Any:
        return text.try_cast("timestamp")

    def whole(self, digits: Any) -> Any:
        return function("conv", ("string", "int32", "int32"), "string")(digits, 16, 10).cast("int64")

    def secret(self, name: str, value: str) -> Any:
        return ibis.literal(value)

    def row_number(self, rows: Any) -> Any:
        return function("monotonically_increasing_id", (), "int64")()


DUCKDB = DuckDb("duckdb")
SPARK = Spark("pyspark")


def function(name: str, arguments: tuple[str, ...], result: str) -> Any:
    """A function of the engine by its own name, with the ibis types of its arguments and result."""

    def body(*values: Any) -> None: ...

    # ibis counts the arguments of a function in its signature.
    body.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(f"value_{at}", Parameter.POSITIONAL_OR_KEYWORD) for at in range(len(arguments))]
    )
    return ibis.udf.scalar.builtin(body, name=name, signature=(arguments, result))


def _java_pattern(form: str) -> str:
    """A format in the letters of Java's DateTimeFormatter, whose other letters stand in quotes."""
    parts = re.split(r"(%[A-Za-z])", form)
    return "".join(DIRECTIVES[part] if part in DIRECTIVES else re.sub(r"([A-Za-z']+)", _quoted, part) for part in parts)


def _quoted(letters: re.Match[str]) -> str:
    return "'" + letters[1].replace("'", "''") + "'"
