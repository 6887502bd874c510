"""What the words of one statement can mean: its data set's columns, and the values that stand in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from sqlglot import exp

from cordon.contract import FORCE, Category, Contract, Date, Identifier, Number, day, days, next_month
from cordon.query.sql.refusing import Text, closest

_NUMERAL = re.compile(r"[0-9]{0,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
"""Numbers that are read. Longer ones mean nothing, and `1e999999999` would fill the memory with its digits."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One statement's text, data set and SELECT list."""

    text: Text
    contract: Contract
    forces: tuple[str, ...]
    """All of the federation's, sorted as bytes."""
    selected: tuple[exp.Expr, ...]
    versions: tuple[Contract, ...] = ()
    """Of the data set, all that can be asked."""

    def has_column(self, name: str) -> bool:
        """Whether a name is a column of the data set, `force` included."""
        return name == FORCE or any(column.name == name for column in self.contract.columns)

    def column(self, node: exp.Expr) -> Category | Date | Number | Identifier:
        """The contract's column that a node names."""
        if not isinstance(node, exp.Column) or node.args.get("table"):
            hint = f"{node.name}, without the data set before it" if isinstance(node, exp.Column) else ""
            self.text.refuse("a column's name is needed here", node, hint=hint)
        if not self.has_column(node.name) or node.name == FORCE:
            names = [column.name for column in self.contract.columns]
            hint = self._elsewhere(lambda other: node.name in {c.name for c in other.columns}) or closest(
                node.name, names
            )
            self.text.refuse(f"{self._called} has no column {node.name!r}", node, hint=hint)
        return self.contract.column(node.name)

    def aliased(self, name: str) -> exp.Expr | None:
        """What an alias of the SELECT list stands for; None where the name is a column's or nobody's."""
        if self.has_column(name):
            return None
        named = [item for item in self.selected if isinstance(item, exp.Alias) and item.alias == name]
        return named[0].unalias() if named else None

    def resolved(self, node: exp.Expr) -> exp.Expr:
        """What a position or an alias of the SELECT list stands for; other nodes as they are."""
        if isinstance(node, exp.Literal) and not node.is_string:
            at = whole(node) or 0
            if not 1 <= at <= len(self.selected):
                self.text.refuse(f"the SELECT list has {len(self.selected)} columns", node)
            return self.selected[at - 1].unalias()
        if isinstance(node, exp.Column) and not node.args.get("table"):
            return self.aliased(node.name) or node
        return node

    def code(self, node: exp.Expr, column: Category) -> str:
        """The code that a text stands for, typed as the code itself or as its label."""
        if not isinstance(node, exp.Literal) or not node.is_string:
            self.text.refuse(f"{column.name} is compared with a code in quotes", node)
        labels = {code.label.casefold(): code.code for code in column.codes}
        if node.name in column.positions:
            return node.name
        if node.name.casefold() in labels:
            return labels[node.name.casefold()]
        codes = [code.code for code in column.codes]
        hint = self._elsewhere(lambda other: _has_code(other, column.name, node.name)) or closest(node.name, codes)
        self.text.refuse(f"{column.name} has no code {node.name!r}", node, hint=hint)

    @property
    def _called(self) -> str:
        """The data set, with its version where there are several."""
        version = f" v{self.contract.version}" if len(self.versions) > 1 else ""
        return f"{self.contract.dataset}{version}"

    def _elsewhere(self, has: Callable[[Contract], bool]) -> str:
        """A hint that names the other versions which have what this one lacks; empty where none does."""
        others = [f"FROM {other.dataset}.v{other.version}" for other in self.versions if has(other)]
        return f"another version has it: {' or '.join(others)}" if others else ""

    def amount(self, node: exp.Expr, column: Number) -> Fraction:
        """A number that a column is compared with, in resolutions."""
        value = number(node)
        if value is None:
            self.text.refuse(f"{column.name} is compared with a number", node)
        # Beyond its bounds a column has no values, so a bound stands for all that lies further out.
        return max(Fraction(column.low - 1), min(Fraction(column.high + 1), value / column.resolution))

    def span_of_days(self, node: exp.Expr, column: Date) -> tuple[Fraction, Fraction]:
        """The first and the last day, since 1970-01-01, that a date in quotes stands for."""
        literal = node.this if isinstance(node, exp.Cast) and node.to.sql().upper() == "DATE" else node
        hint = "'2020-01-31' or '2020-01'"
        if not isinstance(literal, exp.Literal) or not literal.is_string:
            self.text.refuse(f"{column.name} is compared with a date in quotes", node, hint=hint)
        try:
            first, last = _days_of(literal.name)
        except ValueError:
            self.text.refuse(f"{literal.name!r} is not a date", node, hint=hint)
        if column.grain == "month" and len(literal.name) != 7:
            self.text.refuse(f"{column.name} has months, not days", node, hint=f"'{first:%Y-%m}'")
        return Fraction(days(first)), Fraction(days(last))


def _has_code(contract: Contract, name: str, code: str) -> bool:
    columns = (column for column in contract.columns if isinstance(column, Category) and column.name == name)
    return any(code in column.positions for column in columns)


def _days_of(words: str) -> tuple[date, date]:
    if len(words) != 7:
        return date.fromisoformat(words), date.fromisoformat(words)
    first = date.fromisoformat(f"{words}-01")
    return first, day(days(next_month(first)) - 1)


def number(node: exp.Expr) -> Fraction | None:
    """The number that a literal is, with its sign; None for anything else."""
    inner = node.unnest()
    if isinstance(inner, exp.Neg):
        value = number(inner.this)
        return None if value is None else -value
    if not isinstance(inner, exp.Literal) or inner.is_string or not _NUMERAL.fullmatch(inner.name):
        return None
    try:
        return Fraction(inner.name)
    except ValueError:
        return None


def whole(node: exp.Expr | None) -> int | None:
    """The whole number of at most nine digits that a literal is; None for anything else."""
    plain = isinstance(node, exp.Literal) and not node.is_string and re.fullmatch("[0-9]{1,9}", node.name)
    return int(node.name) if node is not None and plain else None
