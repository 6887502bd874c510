"""What a contract wants and a source holds in another form: an age from a date of birth."""

from __future__ import annotations

from cordon.contract import Date, Number
from node.suggest.names import words
from node.suggest.propose import Suggestion
from node.suggest.sample import Sample
from node.suggest.values import evidence

_BIRTH = frozenset({"birth", "born"})


def age_expression(suggestion: Suggestion) -> str | None:
    """An expression for a contract's column `age` from a date of birth and the day of the record, where both are there.

    Completed years on that day. The expression language of docs/data.md reads it.
    """
    wanted = next((column for column in suggestion.unmatched if column.name == "age"), None)
    days = [item for item in suggestion.columns if isinstance(item.column, Date) and item.column.grain == "day"]
    births = [name for name in suggestion.left_over if _BIRTH & set(words(name))]
    if not isinstance(wanted, Number) or wanted.unit != "years" or not days or not births:
        return None
    birth, day = births[0], days[0]
    if not isinstance(day.column, Date):
        raise TypeError("a day is a date")
    found = evidence(suggestion.samples[birth], day.column)
    if not found.dates:
        return None
    parts = [(birth, found), (day.source, day.found)]
    between = ", ".join(_day(name, seen.formats, suggestion.samples[name]) for name, seen in parts)
    conditions = [f"{quoted(name)} NOT IN ({_texts(seen.unknown)})" for name, seen in parts if seen.unknown]
    years = f"YEARS_BETWEEN({between})"
    # A marker that is a date, such as 01/01/1900, would make an age of its own.
    return f"CASE WHEN {' AND '.join(conditions)} THEN {years} END" if conditions else years


def _texts(values: tuple[str, ...]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def quoted(name: str) -> str:
    """A column's name as the expression language reads it."""
    return '"' + name.replace('"', '""') + '"'


def _day(name: str, formats: tuple[str, ...], sample: Sample) -> str:
    named = quoted(name)
    if sample.type.startswith(("DATE", "TIMESTAMP")):
        return named
    return f"DATE({named}, '{formats[0]}')" if formats else f"DATE({named})"
