"""Whether an answer holds the sums of a model: by what was asked, not by what its columns are called."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from cordon.analyst.federation import Federation
from cordon.contract import UNKNOWN, Category, Contract, Number, day
from cordon.errors import Refused
from cordon.query.axes import column_of as column_named
from cordon.query.axes import conjuncts
from cordon.query.expression import Arithmetic, Constant, Expression, Part
from cordon.query.model import All, Grain, Key, Measure, Member, Missing, Predicate, Range, Some
from cordon.query.sql import Versions, parse_sql
from cordon.query.statement import Statement
from cordon.units import exact_text
from cordon.workbench.answer import Answer
from cordon.workbench.regress.model import Model
from cordon.workbench.regress.statement import statement_of as own_statement
from cordon.workbench.rereading import statement_of


def narrowed(answer: Answer, model: Model, federation: Federation) -> tuple[str, ...]:
    """Check that an answer's columns are a model's sums; what narrows its records beyond the formula, in words.

    Raises:
        Refused: a column of the model's is not in the answer, or is something else there; or the answer has records
            in which a variable of the formula is unknown.
    """
    asked = statement_of(answer, federation)
    contract = model.contract
    own = parse_sql(
        own_statement(model, f"{contract.dataset}.v{contract.version}"),
        Versions.of([contract]), list(federation.manifest.by_id),
    )  # fmt: skip
    lacks = [name for name, meaning in _meanings(own).items() if _meanings(asked).get(name) != meaning]
    if lacks:
        raise Refused(
            f"the answer of query {answer.query_id[:16]} has no {', '.join(lacks)} as {model.formula} needs it",
            hint="a formula can be fitted from its own answer, or from that of one with more terms",
        )
    _check_other_keys(asked, own, answer)
    return _conditions(asked, own, answer, contract)


def _meanings(statement: Statement) -> dict[str, object]:
    """What each column of an answer is, by its name; two of one name are nothing."""
    found: dict[str, object] = {}
    question = statement.question
    for output in statement.outputs:
        if output.expression is None:
            assert output.key is not None  # noqa: S101 - a column is a key or an expression
            meaning: object = question.keys[output.key]
        else:
            meaning = _meaning(output.expression, question.measures)
        found[output.name] = None if output.name in found else meaning
    return found


def _meaning(expression: Expression, measures: Sequence[Measure]) -> object:
    """An expression with its measures in the place of their numbers; of what no model asks for, None."""
    if isinstance(expression, Part):
        return measures[expression.measure]
    if isinstance(expression, Constant):
        return expression.value
    if not isinstance(expression, Arithmetic):
        return None
    return expression.sign, _meaning(expression.left, measures), _meaning(expression.right, measures)


def _check_other_keys(asked: Statement, own: Statement, answer: Answer) -> None:
    """Cells are added up over categories that the model does not have; a date or a bin may leave records out."""
    others = [key.column for key in asked.question.keys if key not in own.question.keys and not _is_category(key)]
    if others:
        raise Refused(
            f"the answer of query {answer.query_id[:16]} is by {', '.join(others)}, which is no category",
            hint="ask for the formula itself",
        )


def _is_category(key: Key) -> bool:
    return key.grain is Grain.VALUE


def _conditions(asked: Statement, own: Statement, answer: Answer, contract: Contract) -> tuple[str, ...]:
    """The conditions of an answer that its model does not have."""
    given, needed = list(conjuncts(asked.question.where)), list(conjuncts(own.question.where))
    open_ = [need for need in needed if not any(_implies(condition, need) for condition in given)]
    if open_:
        raise Refused(
            f"the answer of query {answer.query_id[:16]} has records for which it does not hold that "
            f"{' and '.join(_words(need, contract) for need in open_)}",
            hint="a formula can be fitted from its own answer, or from that of one with more terms",
        )
    more = [_words(condition, contract) for condition in given if condition not in needed]
    if asked.question.forces != own.question.forces:
        more.append(f"force is one of {', '.join(asked.question.forces)}")
    return tuple(dict.fromkeys(more))


def _implies(condition: Predicate, need: Predicate) -> bool:
    """Whether every record that meets a condition meets what a model needs: that a variable is known."""
    if isinstance(need, Member):
        return isinstance(condition, Member) and condition.column == need.column and {*condition.codes} <= {*need.codes}
    return isinstance(condition, Range) and isinstance(need, Range) and condition.column == need.column


def _words(predicate: Predicate, contract: Contract) -> str:
    if isinstance(predicate, All | Some):
        word = " and " if isinstance(predicate, All) else " or "
        return f"({word.join(_words(part, contract) for part in predicate.parts)})"
    if isinstance(predicate, Member):
        return _member(predicate, contract)
    if isinstance(predicate, Missing):
        return f"{predicate.column} is unknown"
    low = None if predicate.low is None else _value(predicate.low, predicate.column, contract)
    high = None if predicate.high is None else _value(predicate.high, predicate.column, contract)
    if low == high:
        return f"{predicate.column} is {'known' if low is None else low}"
    if low is None or high is None:
        return f"{predicate.column} is {f'at most {high}' if low is None else f'at least {low}'}"
    return f"{predicate.column} is {low} to {high}"


def _member(predicate: Member, contract: Contract) -> str:
    column = column_named(predicate.column, contract)
    assert isinstance(column, Category)  # noqa: S101 - nothing else has codes
    labels = {code.code: code.label for code in column.codes}
    if set(labels) - {*predicate.codes} == {UNKNOWN}:
        return f"{column.name} is known"
    named = [labels.get(code, code) for code in predicate.codes]
    return f"{column.name} is {named[0]}" if len(named) == 1 else f"{column.name} is one of {', '.join(named)}"


def _value(stored: int, name: str, contract: Contract) -> str:
    """A bound as people write it."""
    column = column_named(name, contract)
    if isinstance(column, Number):
        return exact_text(Fraction(stored) * column.resolution)
    return day(stored).isoformat()
