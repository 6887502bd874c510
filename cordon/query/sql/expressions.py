"""Columns and HAVING: arithmetic and comparisons over measures. They stay with the analyst."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn

from sqlglot import exp

from cordon.contract import FORCE, Number
from cordon.query.expression import Arithmetic, Bounded, Constant, Expression, Residents, Root, leaves
from cordon.query.sql.functions import function_name, instead_of
from cordon.query.sql.keys import read_key
from cordon.query.sql.measures import Measures, scaled
from cordon.query.sql.predicates import SIGNS
from cordon.query.sql.refusing import rendered
from cordon.query.sql.scope import Scope, number
from cordon.query.statement import Comparison, Condition, Either, Every, Opposite

MOST_DEPTH = 64
"""How deep arithmetic and HAVING may be nested: whoever evaluates them calls itself as often."""

_LARGEST = Fraction(10**15)
"""Beyond it, and below its inverse, a constant has no place among counts of records."""

_ARITHMETIC: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}


@dataclass(frozen=True, slots=True)
class Arithmetics:
    """Reads expressions over the measures of one statement."""

    asked: Measures
    named: Mapping[str, Expression]
    """Columns of the SELECT list that HAVING may call by their names; empty while that list is read."""

    @property
    def scope(self) -> Scope:
        """The statement's words."""
        return self.asked.scope

    def read(self, node: exp.Expr) -> Expression:
        """The expression that a node is; its measures are asked for."""
        expression = self._part(node)
        if _depth(expression) > MOST_DEPTH:
            self.scope.text.refuse(f"arithmetic is nested at most {MOST_DEPTH} deep", node)
        return expression

    def condition(self, node: exp.Expr) -> Condition:
        """What HAVING keeps."""
        condition = self._condition(node)
        if _depth_of(condition) > MOST_DEPTH:
            self.scope.text.refuse(f"HAVING is nested at most {MOST_DEPTH} deep", node)
        return condition

    def _part(self, node: exp.Expr) -> Expression:
        node = node.unnest()
        measure = self.asked.read(node)
        if measure is not None:
            return measure
        if isinstance(node, exp.Literal):
            return self._constant(number(node), node)
        if isinstance(node, exp.Neg):
            return self._calculated("*", Constant(Fraction(-1)), self._part(node.this), node)
        if type(node) in _ARITHMETIC:
            sign = _ARITHMETIC[type(node)]
            return self._calculated(sign, self._part(node.this), self._part(node.expression), node)
        if isinstance(node, exp.Anonymous) and node.name.upper() in ("RESIDENTS", "PER_1000"):
            return self._by_residents(node)
        if isinstance(node, exp.Column):
            return self._column(node)
        self._refuse_function(node)

    def _calculated(self, sign: str, left: Expression, right: Expression, node: exp.Expr) -> Expression:
        if sign == "/" and isinstance(right, Constant) and right.value == 0:
            self.scope.text.refuse("division by zero", node)
        if isinstance(left, Constant) and isinstance(right, Constant):
            return self._constant(_EXACTLY[sign](left.value, right.value), node)
        return Arithmetic(sign, left, right)

    def _constant(self, value: Fraction | None, node: exp.Expr) -> Constant:
        if value is None:
            self.scope.text.refuse("a column is calculated from measures and numbers", node)
        if value and not 1 / _LARGEST <= abs(value) <= _LARGEST:
            self.scope.text.refuse("the number is too large or too small to calculate with", node)
        return Constant(value)

    def _by_residents(self, node: exp.Anonymous) -> Expression:
        if node.name.upper() == "RESIDENTS":
            if node.expressions:
                self.scope.text.refuse("RESIDENTS takes nothing in its parentheses", node, hint="RESIDENTS()")
            return Residents()
        if len(node.expressions) != 1:
            self.scope.text.refuse("PER_1000 takes one measure", node, hint="PER_1000(COUNT(*))")
        return Arithmetic("/", scaled(Fraction(1000), self._part(node.expressions[0])), Residents())

    def _column(self, node: exp.Column) -> Expression:
        name = node.name if not node.args.get("table") else ""
        # A column's own name as well: HAVING has no other use for a column that is not a key.
        if name in self.named:
            return self.named[name]
        aliased = self.scope.aliased(name)
        if aliased is not None and read_key(aliased, self.scope) is None:
            hint = "write the measure itself out: it is paid for once"
            self.scope.text.refuse(f"{name} is a column of this answer, not of the records", node, hint=hint)
        column = None if name == FORCE or aliased is not None else self.scope.column(node)
        hint = f"SUM({name}), AVG({name}), …" if isinstance(column, Number) else "COUNT(*), COUNT_IF(condition), …"
        self.scope.text.refuse(f"{rendered(node)} is a column of the records, not a measure of them", node, hint=hint)

    def _refuse_function(self, node: exp.Expr) -> NoReturn:
        text = self.scope.text
        if isinstance(node, exp.Star):
            text.refuse("no record is shown: name measures and keys", node, hint="SELECT COUNT(*)")
        if isinstance(node, exp.Subquery | exp.Select):
            text.refuse("a SELECT within a SELECT cannot be asked", node, hint="ask it by itself")
        if isinstance(node, exp.Window):
            hint = "ORDER BY and LIMIT rank the answer, ROLLUP adds its totals"
            text.refuse("windows (OVER) cannot be asked", node, hint=hint)
        if not isinstance(node, exp.Func):
            text.refuse(
                f"{rendered(node)} cannot be asked", node, hint="measures, numbers, + - * / and keys of GROUP BY"
            )
        text.refuse(f"{function_name(node, text).upper()} cannot be asked", node, hint=instead_of(node, text))

    # HAVING

    def _condition(self, node: exp.Expr) -> Condition:
        node = node.unnest()
        if isinstance(node, exp.Not):
            inner = self._condition(node.this)
            return inner.of if isinstance(inner, Opposite) else Opposite(inner)
        if isinstance(node, exp.And | exp.Or):
            kind = Every if isinstance(node, exp.And) else Either
            flat: list[Condition] = []
            for part in (self._condition(node.left), self._condition(node.right)):
                flat += part.parts if isinstance(part, kind) else [part]
            return kind(tuple(flat))
        if type(node) in SIGNS:
            return self._comparison(SIGNS[type(node)], node.this, node.expression, node)
        if isinstance(node, exp.Between) and not node.args.get("symmetric"):
            low = self._comparison(">=", node.this, node.args["low"], node)
            return Every((low, self._comparison("<=", node.this, node.args["high"], node)))
        hint = "=, <>, <, <=, >, >=, BETWEEN, AND, OR, NOT over measures"
        self.scope.text.refuse(f"{rendered(node)} cannot stand in HAVING", node, hint=hint)

    def _comparison(self, sign: str, left: exp.Expr, right: exp.Expr, node: exp.Expr) -> Comparison:
        for side in (left, right):
            self._refuse_key(side)
        comparison = Comparison(sign, self.read(left), self.read(right))
        if not leaves(comparison.left) and not leaves(comparison.right):
            self.scope.text.refuse("HAVING compares measures", node, hint="HAVING COUNT(*) > 100")
        return comparison

    def _refuse_key(self, side: exp.Expr) -> None:
        node = side.unnest()
        if isinstance(node, exp.Column) and not node.args.get("table"):
            node = self.scope.aliased(node.name) or node
            if side.unnest().name in self.named or self._is_number(node):
                return
        if read_key(node, self.scope) is not None:
            hint = "put it in WHERE: it picks records, and narrows the answer at no cost"
            self.scope.text.refuse("HAVING looks at measures, not at keys", side, hint=hint)

    def _is_number(self, node: exp.Expr) -> bool:
        columns = self.scope.contract.columns
        named = (column for column in columns if isinstance(node, exp.Column) and column.name == node.name)
        return any(isinstance(column, Number) for column in named)


_EXACTLY: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": Fraction.__add__, "-": Fraction.__sub__, "*": Fraction.__mul__, "/": Fraction.__truediv__,
}  # fmt: skip


def _depth(expression: Expression) -> int:
    if isinstance(expression, Arithmetic):
        return 1 + max(_depth(expression.left), _depth(expression.right))
    return 1 + _depth(expression.of) if isinstance(expression, Root | Bounded) else 0


def _depth_of(condition: Condition) -> int:
    if isinstance(condition, Every | Either):
        return 1 + max(_depth_of(part) for part in condition.parts)
    return 1 + _depth_of(condition.of) if isinstance(condition, Opposite) else 0
