"""Conditions on records and on forces: WHERE, FILTER and COUNT_IF.

Every NOT is pushed into the atoms, which gives SQL's meaning for unknown values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from sqlglot import exp

from cordon.contract import FORCE, UNKNOWN, Category, Date, Identifier, Number
from cordon.query.axes import conjuncts
from cordon.query.model import All, Member, Missing, Predicate, Range, Some
from cordon.query.sql.refusing import Text, closest, rendered
from cordon.query.sql.scope import Scope

SIGNS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
"""Comparisons, as they are written."""

_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_NOTHING = (1, 0)
"""A range that no value lies in."""

_CONDITIONS = "=, <>, <, <=, >, >=, BETWEEN, IN, IS NULL, AND, OR, NOT"
_HINTS: dict[type[exp.Expr], str] = {
    exp.Like: "IN lists codes; cordon datasets NAME shows them",
    exp.ILike: "IN lists codes; cordon datasets NAME shows them",
    exp.NullSafeEQ: "= with a value, or IS NULL",
    exp.NullSafeNEQ: "<> with a value, or IS NOT NULL",
    exp.Boolean: "leave it out",
    exp.Exists: "there are no subqueries: put the condition itself in WHERE",
}


def read_forces(where: exp.Expr | None, forces: Sequence[str], text: Text) -> tuple[str, ...]:
    """The forces that WHERE leaves; conditions on records are looked at by `read_where`."""
    left = set(forces)
    for node in _conjuncts(where.this) if where is not None else []:
        if _is_about_forces(node):
            left &= _chosen_forces(node, forces, text)
    if not left:
        text.refuse("no force is left to ask", where)
    return tuple(force for force in forces if force in left)


def read_where(where: exp.Expr | None, scope: Scope) -> Predicate | None:
    """What WHERE asks of records."""
    nodes = [node for node in _conjuncts(where.this) if not _is_about_forces(node)] if where is not None else []
    return combined(All, [_predicate(node, scope, negated=False) for node in nodes]) if nodes else None


def read_filter(node: exp.Expr, scope: Scope) -> Predicate:
    """The condition of a FILTER or COUNT_IF: on records only."""
    named = [column for column in node.find_all(exp.Column) if column.name == FORCE]
    if named:
        scope.text.refuse(
            "a FILTER looks at records, and no record holds its force", named[0],
            hint="pick forces in WHERE, or GROUP BY force",
        )  # fmt: skip
    return _predicate(node, scope, negated=False)


def combined(kind: type[All | Some], parts: Sequence[Predicate | None]) -> Predicate:
    """Join parts, without nesting a conjunction in a conjunction or a disjunction in a disjunction."""
    flat: list[Predicate] = []
    for part in parts:
        if part is not None:
            flat += part.parts if isinstance(part, kind) else [part]
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def known(column: Category | Date | Number) -> Predicate:
    """True where a column's value is known."""
    if isinstance(column, Category):
        return Member(column.name, tuple(sorted(set(column.positions) - {UNKNOWN})))
    return Range(column.name, None, None)


def implies_known(where: Predicate | None, column: Category | Date | Number) -> bool:
    """Whether every row that meets a condition has a known value of a column."""
    for part in conjuncts(where):
        if isinstance(part, Range | Member) and part.column == column.name:
            return isinstance(part, Range) or UNKNOWN not in part.codes
    return False


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    bare = node.unnest()
    return [*_conjuncts(bare.left), *_conjuncts(bare.right)] if isinstance(bare, exp.And) else [bare]


def _is_about_forces(node: exp.Expr) -> bool:
    return any(column.name == FORCE for column in node.find_all(exp.Column))


def _chosen_forces(node: exp.Expr, forces: Sequence[str], text: Text) -> set[str]:
    """The forces that a condition on `force` leaves."""
    inner, negated = (node.this.unnest(), True) if isinstance(node, exp.Not) else (node, False)
    if isinstance(inner, exp.In) and inner.expressions and _is_force(inner.this):
        named = {_force(item, forces, text) for item in inner.expressions}
    elif isinstance(inner, exp.EQ | exp.NEQ) and _is_force(inner.this):
        named = {_force(inner.expression, forces, text)}
        negated ^= isinstance(inner, exp.NEQ)
    else:
        text.refuse("force is picked by =, <>, IN or NOT IN, joined by AND to the rest", node)
    return set(forces) - named if negated else named


def _is_force(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and node.name == FORCE


def _force(node: exp.Expr, forces: Sequence[str], text: Text) -> str:
    if not isinstance(node, exp.Literal) or not node.is_string:
        text.refuse("a force is named in quotes", node)
    if node.name not in forces:
        text.refuse(f"there is no force {node.name!r}", node, hint=closest(node.name, forces))
    return node.name


def _predicate(node: exp.Expr, scope: Scope, *, negated: bool) -> Predicate:
    node = node.unnest()
    if isinstance(node, exp.Not):
        return _predicate(node.this, scope, negated=not negated)
    if isinstance(node, exp.And | exp.Or):
        parts = [_predicate(part, scope, negated=negated) for part in (node.left, node.right)]
        return combined(All if isinstance(node, exp.And) != negated else Some, parts)
    read = _comparison if type(node) in SIGNS else _ATOMS.get(type(node))
    if read is None:
        hint = _HINTS.get(type(node), _CONDITIONS)
        scope.text.refuse(f"{rendered(node)} cannot be a condition", node, hint=hint)
    return read(node, scope, negated)


def _comparison(node: exp.Expr, scope: Scope, negated: bool) -> Predicate:
    sign = SIGNS[type(node)]
    left, right = node.args["this"].unnest(), node.args["expression"].unnest()
    if not isinstance(left, exp.Column):
        left, right, sign = right, left, _MIRRORED[sign]
    if node.find(exp.AggFunc):
        scope.text.refuse("WHERE picks records before they are measured", node, hint="put this condition in HAVING")
    column = scope.column(left)
    sign = _NEGATED[sign] if negated else sign
    if isinstance(right, exp.Null):
        scope.text.refuse("nothing is ever equal to NULL", node, hint=f"{column.name} IS NULL, or IS NOT NULL")
    if isinstance(column, Category):
        if sign not in ("=", "<>"):
            scope.text.refuse(f"{column.name} is a category: its codes have no order", node, hint="use = or IN")
        return _member(column, {scope.code(right, column)}, sign == "<>", node, scope)
    return _range(column, sign, right, scope)


def _between(node: exp.Expr, scope: Scope, negated: bool) -> Predicate:
    column = scope.column(node.this)
    if node.args.get("symmetric"):
        scope.text.refuse("BETWEEN takes the lower bound first; SYMMETRIC cannot be asked", node)
    low, high = node.args["low"], node.args["high"]
    if isinstance(column, Category):
        scope.text.refuse(f"{column.name} is a category: its codes have no order", node, hint="use IN")
    if negated:
        return combined(Some, [_range(column, "<", low, scope), _range(column, ">", high, scope)])
    first, last = _range(column, ">=", low, scope), _range(column, "<=", high, scope)
    if isinstance(first, Range) and isinstance(last, Range) and (first.low or 0) > (last.high or 0):
        scope.text.refuse("BETWEEN takes the lower bound first: nothing lies between these", node)
    return combined(All, [first, last])


def _in(node: exp.Expr, scope: Scope, negated: bool) -> Predicate:
    if not node.expressions:
        scope.text.refuse("IN takes a list of values", node, hint="there are no subqueries: list the values")
    column = scope.column(node.this)
    if isinstance(column, Category):
        return _member(column, {scope.code(item, column) for item in node.expressions}, negated, node, scope)
    parts = [_range(column, "<>" if negated else "=", item, scope) for item in node.expressions]
    return combined(All if negated else Some, parts)


def _is(node: exp.Expr, scope: Scope, negated: bool) -> Predicate:
    if not isinstance(node.expression, exp.Null):
        scope.text.refuse(f"{rendered(node)} cannot be a condition", node, hint="IS NULL or IS NOT NULL")
    column = scope.column(node.this.unnest())
    if isinstance(column, Identifier):
        scope.text.refuse(f"{column.name} is an identifier and cannot be filtered by", node)
    if negated:
        return known(column)
    return Member(column.name, (UNKNOWN,)) if isinstance(column, Category) else Missing(column.name)


_ATOMS: dict[type[exp.Expr], Callable[[exp.Expr, Scope, bool], Predicate]] = {
    exp.Between: _between, exp.In: _in, exp.Is: _is,
}  # fmt: skip


def _member(column: Category, codes: set[str], negated: bool, node: exp.Expr, scope: Scope) -> Predicate:
    wanted = set(column.positions) - codes if negated else codes
    if not wanted:
        scope.text.refuse("the condition matches nothing", node)
    return Member(column.name, tuple(sorted(wanted)))


def _range(column: Number | Date | Identifier, sign: str, node: exp.Expr, scope: Scope) -> Predicate:
    if isinstance(column, Number):
        low = high = scope.amount(node, column)
    elif isinstance(column, Date):
        low, high = scope.span_of_days(node, column)
    else:
        scope.text.refuse(f"{column.name} is an identifier and cannot be filtered by", node)
    return _compared(column.name, sign, low, high)


def _compared(column: str, sign: str, low: Fraction, high: Fraction) -> Predicate:
    """A comparison with what lies in [low, high], as a range of whole values."""
    below, above = math.ceil(low) - 1, math.floor(high) + 1
    if sign == "=":
        return Range(column, *((below + 1, above - 1) if below + 1 < above else _NOTHING))
    if sign == "<>" and below + 1 >= above:
        return Range(column, None, None)
    if sign == "<>":
        return Some((Range(column, None, below), Range(column, above, None)))
    if sign == "<":
        return Range(column, None, below)
    if sign == "<=":
        return Range(column, None, above - 1)
    return Range(column, above, None) if sign == ">" else Range(column, below + 1, None)
