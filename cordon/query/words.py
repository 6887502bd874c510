"""A question in words that people read: close to SQL, for histories and confirmations, never parsed."""

from __future__ import annotations

from cordon.query.model import All, Grain, Key, Measure, MeasureKind, Member, Missing, Predicate, Question, Range, Some

_FEW_FORCES = 5
"""Forces that are named and not only counted."""


def describe(question: Question) -> str:
    """One line with everything that is asked; numbers are in the stored units (days since 1970-01-01, resolutions)."""
    measures = ", ".join(map(describe_measure, question.measures))
    text = f"{measures} of {question.dataset} v{question.contract_version}"
    if question.where is not None:
        text += f" where {_predicate(question.where)}"
    if question.keys:
        text += f" by {', '.join(map(_key, question.keys))}"
    if question.groupings:
        tables = (", ".join(question.keys[at].column for at in table) for table in question.tables)
        text += f" in tables {', '.join(f'({columns})' for columns in tables)}"
    text += f", {len(question.forces)} forces"
    return f"{text} ({', '.join(question.forces)})" if len(question.forces) <= _FEW_FORCES else text


def describe_measure(measure: Measure) -> str:
    """One measure, in the stored units."""
    filtered = "" if measure.where is None else f" filter ({_predicate(measure.where)})"
    return _MEASURES[measure.kind](measure) + filtered


def _sum(measure: Measure) -> str:
    return f"SUM({_centred(measure.column, measure.centre)})"


def _squares(measure: Measure) -> str:
    offset = f" - {measure.offset}" if measure.offset else ""
    return f"SUM(({_centred(measure.column, measure.centre)})²{offset})"


def _products(measure: Measure) -> str:
    return f"SUM({' × '.join(f'({_centred(name, centre)})' for name, centre in measure.numbers)})"


def _centred(column: str, centre: int) -> str:
    return f"{column} {'-' if centre > 0 else '+'} {abs(centre)}" if centre else column


def _histogram(measure: Measure) -> str:
    return f"HISTOGRAM({measure.column} in bins of {', '.join(map(str, measure.widths))})"


_MEASURES = {
    MeasureKind.COUNT: lambda _: "COUNT(*)",
    MeasureKind.COUNT_UNIT: lambda _: "COUNT(DISTINCT unit)",
    MeasureKind.SUM: _sum,
    MeasureKind.SQUARES: _squares,
    MeasureKind.HISTOGRAM: _histogram,
    MeasureKind.PRODUCTS: _products,
}


def _key(key: Key) -> str:
    if key.grain is Grain.VALUE:
        return key.column
    if key.grain is Grain.BIN:
        return f"{key.column} in bins of {key.width}"
    return f"{key.grain.name.lower()} of {key.column}"


def _predicate(predicate: Predicate) -> str:
    if isinstance(predicate, All | Some):
        word = " and " if isinstance(predicate, All) else " or "
        return "(" + word.join(_predicate(part) for part in predicate.parts) + ")"
    if isinstance(predicate, Member):
        return f"{predicate.column} in ({', '.join(predicate.codes)})"
    if isinstance(predicate, Missing):
        return f"{predicate.column} is unknown"
    return _range(predicate)


def _range(predicate: Range) -> str:
    low = "" if predicate.low is None else f"{predicate.low} ≤ "
    high = "" if predicate.high is None else f" ≤ {predicate.high}"
    return f"{low}{predicate.column}{high}" if low or high else f"{predicate.column} is known"
