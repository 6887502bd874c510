"""Whether an earlier answer is what the options ask for, and which of its columns they mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cordon.analyst.federation import Federation
from cordon.errors import QuestionRefused, Refused
from cordon.query.expression import Arithmetic, Bounded, Expression, Part, Quantile, Root
from cordon.query.model import Grain as KeyGrain
from cordon.query.model import Key, Measure, Question
from cordon.query.sql import Versions, parse_sql
from cordon.query.statement import Statement
from cordon.workbench.answer import Answer
from cordon.workbench.trend.periods import Grain
from cordon.workbench.trend.statement import Wanted, statement_of

_GRAINS = {KeyGrain.MONTH: Grain.MONTH, KeyGrain.QUARTER: Grain.QUARTER}


def column_meant(wanted: Wanted, answer: Answer, statement: Statement, federation: Federation) -> str | None:
    """The column of estimates that options mean in an earlier answer; None for its first.

    What was not named is as it was asked. What was named is compared by its meaning, and never applied: an answer
    cannot be asked for less.

    Args:
        statement: that the answer was asked by.

    Raises:
        Refused: the answer is about something else than the options are.
    """
    question = statement.question
    _check_dataset(wanted, answer, question)
    times = [key for key in question.keys if key.grain in _GRAINS]
    if len(times) != 1:
        # It has no series, and whoever reads it says so.
        return None
    (time,) = times
    measures = {output.name: output.expression for output in statement.outputs if output.is_measure}
    by_name = wanted.measure if wanted.measure in measures else None
    given = _read(wanted if by_name is None else replace(wanted, measure=None), time, question, federation)
    keys = given.question.keys
    if keys[0] != time:
        raise _other(answer, "by " + " ".join(str(part) for part in (wanted.date, wanted.grain) if part))
    if wanted.by is not None and keys[1:] != tuple(key for key in question.keys if key != time):
        raise _other(answer, f"by {wanted.by}")
    limits = [text for text in (wanted.where, wanted.since, wanted.until) if text is not None]
    same = (given.question.where, given.question.forces) == (question.where, question.forces)
    if limits and not same:
        raise _other(answer, f"of {', '.join(limits)} alone")
    if wanted.measure is None or by_name is not None:
        return by_name
    meant = _meaning(given.outputs[-1].expression, given.question.measures)
    for name, expression in measures.items():
        if _meaning(expression, question.measures) == meant:
            return name
    raise _other(answer, f"for {wanted.measure}")


def _check_dataset(wanted: Wanted, answer: Answer, question: Question) -> None:
    name, _, version = wanted.dataset.partition(".")
    if name != question.dataset or (version and version != f"v{question.contract_version}"):
        raise Refused(f"query {answer.query_id[:16]} is about {answer.dataset}, not {wanted.dataset}")


def _read(wanted: Wanted, time: Key, question: Question, federation: Federation) -> Statement:
    """What the options would ask, of the answer's version, with the answer's periods where they name none."""
    contract = federation.contract_of(question)
    filled = replace(
        wanted, dataset=question.dataset, grain=wanted.grain or _GRAINS[time.grain], date=wanted.date or time.column
    )
    try:
        return parse_sql(statement_of(filled, contract), Versions.of([contract]), list(federation.manifest.by_id))
    except QuestionRefused as error:
        raise Refused(f"the options cannot be read: {error}", hint=error.hint) from None


def _meaning(expression: Expression | None, measures: tuple[Measure, ...]) -> Any:
    """An expression by what it is computed from, whatever else was asked beside it."""
    if isinstance(expression, Part):
        return measures[expression.measure]
    if isinstance(expression, Quantile):
        return ("quantile", measures[expression.measure], expression.q)
    if isinstance(expression, Arithmetic):
        return (expression.sign, _meaning(expression.left, measures), _meaning(expression.right, measures))
    if isinstance(expression, Root):
        return ("root", _meaning(expression.of, measures))
    if isinstance(expression, Bounded):
        return ("bounded", _meaning(expression.of, measures), expression.low, expression.high)
    return expression


def _other(answer: Answer, what: str) -> Refused:
    return Refused(
        f"query {answer.query_id[:16]} was not asked {what}, but: {answer.sql}",
        hint="leave the option away to read it as it was asked, or ask anew without --from-query",
    )
