"""What was typed: the question that travels, and how its answer is to be shown, which does not."""

from __future__ import annotations

from dataclasses import dataclass

from cordon.query.expression import Expression, leaves
from cordon.query.model import Question


@dataclass(frozen=True, slots=True)
class Output:
    """One column of the answer, under a name: a key of the question, or an expression over its measures."""

    name: str
    key: int | None = None
    """Index into the question's keys; None for an expression."""
    expression: Expression | None = None
    """None for a key."""

    @property
    def is_measure(self) -> bool:
        """Whether the column holds estimates, not key values."""
        return self.expression is not None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left sign right` over noised values; `sign` is one of = <> < <= > >=."""

    sign: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Every:
    """True where every part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """True where at least one part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Opposite:
    """True where `of` is not."""

    of: Condition


Condition = Comparison | Every | Either | Opposite
"""What HAVING keeps; applied to noised values, after everything is opened."""


@dataclass(frozen=True, slots=True)
class Order:
    """Sort rows by one output, after the noise."""

    output: int
    descending: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT, read."""

    sql: str
    question: Question
    outputs: tuple[Output, ...]
    order: tuple[Order, ...]
    limit: int | None
    having: Condition | None = None
    notes: tuple[str, ...] = ()
    """What people must know to read the columns, in sentences: that a MAX is a quantile, and the like."""
    names_version: bool = False
    """Whether FROM names the contract's version, or leaves the choice of it to whoever reads."""


def compared_in(condition: Condition | None) -> tuple[Expression, ...]:
    """Every expression that a condition compares and that is not a constant, left to right."""
    if condition is None:
        return ()
    if isinstance(condition, Comparison):
        return tuple(side for side in (condition.left, condition.right) if leaves(side))
    if isinstance(condition, Opposite):
        return compared_in(condition.of)
    return tuple(expression for part in condition.parts for expression in compared_in(part))
