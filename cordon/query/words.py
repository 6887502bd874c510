"""A question in words that people read: close to SQL, for histories and confirmations, never parsed."""

from __future__ import annotations

from cordon.query.model import All, Grain, MeasureKind, Member, Missing, Predicate, Question, Range, Some

_MEASURES = {MeasureKind.COUNT: "COUNT(*)", MeasureKind.COUNT_UNIT: "COUNT(DISTINCT unit)"}


def describe(question: Question) -> str:
    """One line; ranges are in the stored units (days since 1970-01-01, resolutions)."""
    measures = ", ".join(_MEASURES.get(m.kind, f"SUM({m.column})") for m in question.measures)
    text = f"{measures} of {question.dataset}"
    if question.where is not None:
        text += f" where {_predicate(question.where)}"
    if question.keys:
        keys = [f"month of {key.column}" if key.grain is Grain.MONTH else key.column for key in question.keys]
        text += f" by {', '.join(keys)}"
    return f"{text}, {len(question.forces)} forces"


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
