"""One SELECT from beginning to end: the question that travels, and how its answer is to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from cordon.contract import Contract
from cordon.errors import Malformed, QuestionRefused
from cordon.query.expression import leaves
from cordon.query.model import Key, Measure, MeasureKind, Question
from cordon.query.sql.complete import check_nothing_is_left
from cordon.query.sql.expressions import Arithmetics
from cordon.query.sql.keys import read_key, read_keys
from cordon.query.sql.measures import Measures
from cordon.query.sql.parsing import read_select
from cordon.query.sql.predicates import read_forces, read_where
from cordon.query.sql.refusing import Text, rendered
from cordon.query.sql.scope import Scope, whole
from cordon.query.sql.versions import Versions, read_source
from cordon.query.statement import Order, Output, Statement


def parse_sql(sql: str, contracts: Mapping[str, Contract] | Versions, forces: Sequence[str]) -> Statement:
    """Read one SELECT.

    Args:
        contracts: one contract of each data set, by name; or every version, and which of them a bare name stands for.
        forces: the federation's forces; all are asked unless `WHERE force …` narrows them.

    Raises:
        QuestionRefused: outside the subset, with position and hint.
    """
    text = Text(sql)
    try:
        select = read_select(text)
        offered = contracts if isinstance(contracts, Versions) else Versions.of(contracts.values())
        source = read_source(select, offered, text)
        known = tuple(sorted(forces, key=str.encode))
        # Before the contract is known: which forces are asked may decide which version is.
        asked = read_forces(select.args.get("where"), known, text)
        contract = source.named or offered.choose(source.versions, asked)
        scope = Scope(text, contract, known, tuple(select.expressions), source.versions)
        statement = replace(_statement(select, scope, asked), names_version=source.named is not None)
        check_nothing_is_left(select, text)
    except Malformed as error:
        raise QuestionRefused(str(error), sql=sql, end=len(sql)) from error
    except RecursionError:
        raise QuestionRefused("the statement is nested too deep") from None
    return statement


def _statement(select: exp.Select, scope: Scope, forces: tuple[str, ...]) -> Statement:
    keys, groupings = read_keys(select.args.get("group"), scope)
    where = read_where(select.args.get("where"), scope)
    contract = scope.contract
    # First with a bare count: how finely a histogram can be asked for depends on all else.
    frame = Question(contract.dataset, contract.version, (Measure(MeasureKind.COUNT),), where, keys, forces, groupings)
    asked = Measures(scope, frame)
    outputs = tuple(_output(node, keys, Arithmetics(asked, {})) for node in select.expressions)
    named = {output.name: output.expression for output in reversed(outputs) if output.expression is not None}
    having = select.args.get("having")
    condition = None if having is None else Arithmetics(asked, named).condition(having.this)
    if not any(output.is_measure for output in outputs) or not asked.asked:
        scope.text.refuse("there is nothing to measure", select, hint="add COUNT(*) or SUM(…) to the SELECT list")
    question = Question(contract.dataset, contract.version, tuple(asked.asked), where, keys, forces, groupings)
    order = _order(select.args.get("order"), keys, outputs, scope)
    limit = _limit(select.args.get("limit"), scope)
    return Statement(scope.text.sql, question, outputs, order, limit, condition, tuple(asked.notes))


def _output(node: exp.Expr, keys: tuple[Key, ...], arithmetics: Arithmetics) -> Output:
    scope = arithmetics.scope
    inner = node.unalias()
    # As it was typed, where the parser has a name of its own for a function.
    name = node.alias or rendered(inner).lower().replace("variance_pop(", "var_pop(")
    key = read_key(inner, scope)
    if key in keys:
        return Output(name, key=keys.index(key))
    if key is not None:
        otherwise = any(other.column == key.column for other in keys)
        hint = "select it as GROUP BY has it" if otherwise else f"add GROUP BY {rendered(inner)}"
        scope.text.refuse(f"{rendered(inner)} is selected but not grouped by", inner, hint=hint)
    expression = arithmetics.read(inner)
    if not leaves(expression):
        scope.text.refuse("a column shows a measure or a key", inner, hint="COUNT(*), or a key of GROUP BY")
    return Output(name, expression=expression)


def _order(
    order: exp.Expr | None, keys: tuple[Key, ...], outputs: tuple[Output, ...], scope: Scope
) -> tuple[Order, ...]:
    if order is None:
        return ()
    return tuple(
        Order(_ordered(item.this, keys, outputs, scope), descending=bool(item.args.get("desc")))
        for item in order.expressions
    )


def _ordered(node: exp.Expr, keys: tuple[Key, ...], outputs: tuple[Output, ...], scope: Scope) -> int:
    if isinstance(node, exp.Column) and not node.args.get("table"):
        named = [at for at, output in enumerate(outputs) if output.name == node.name]
        if named:
            return named[0]
    wanted = scope.resolved(node)
    for at, selected in enumerate(scope.selected):
        if selected.unalias() == wanted:
            return at
    key = read_key(wanted, scope)
    for at, output in enumerate(outputs):
        if key is not None and output.key is not None and keys[output.key] == key:
            return at
    scope.text.refuse("ORDER BY names a column of the SELECT list", node, hint="add it to the SELECT list")


def _limit(limit: exp.Expr | None, scope: Scope) -> int | None:
    if limit is None:
        return None
    value = whole(limit.args.get("expression"))
    if value is None or value < 1:
        scope.text.refuse("LIMIT takes a whole number above zero", limit, hint="LIMIT 10")
    return value
