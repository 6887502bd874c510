"""How exact or how costly a question shall be, as people say it, and what that comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from cordon.analyst.compose import Cost, cost_of_epsilon, cost_of_half_width, plan_statement
from cordon.analyst.federation import Federation
from cordon.analyst.forecast import widest
from cordon.contract import Contract
from cordon.errors import QuestionRefused, Refused
from cordon.query.plan import outline
from cordon.query.statement import Statement
from cordon.units import Rho, exact_number

Figure = int | float | str | Fraction | Decimal
"""A number as an analyst gives it; a float is taken as it is printed, so that 0.1 is a tenth."""

LEAST_NUMBER = Fraction(1, 10**15)
"""Magnitude of the smallest number that is taken; the largest is its inverse."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to pay, or to get for it. Exactly one of `epsilon` and `within` is given."""

    epsilon: Figure | None = None
    """Privacy cost per attempt, at the federation's delta."""
    within: Figure | None = None
    """Half-width of the widest 95 % interval, in the measure's unit."""
    weights: Sequence[Figure] = ()
    """How much each column of estimates matters; empty for equally."""
    rows: Figure | None = None
    """Rows that are expected in all."""
    attempts: int | None = None
    """Most attempts, each charged anew; None for two, or as many as the federation allows."""

    @property
    def importance(self) -> tuple[float, ...]:
        """The weights as numbers.

        Raises:
            QuestionRefused: one of them is none, or they are one text.
        """
        if isinstance(self.weights, str | bytes) or not isinstance(self.weights, Sequence):
            raise QuestionRefused(f"--weights takes several numbers, got {self.weights!r}", hint="in Python, (2, 1)")
        return tuple(float(exactly("--weights", weight)) for weight in self.weights)

    @property
    def expected_rows(self) -> float | None:
        """The rows as a number.

        Raises:
            QuestionRefused: it is none, or not above zero.
        """
        if self.rows is None:
            return None
        rows = float(exactly("--rows", self.rows))
        if rows <= 0:
            raise QuestionRefused(f"--rows takes a number above zero, got {str(self.rows)!r}")
        return rows

    @property
    def most_attempts(self) -> int | None:
        """The attempts as a number.

        Raises:
            QuestionRefused: it is no whole number.
        """
        return None if self.attempts is None else whole("--attempts", self.attempts, least=1)


def cost_of(wish: Wish, statement: Statement, contract: Contract, federation: Federation) -> Cost:
    """What a wish costs per attempt.

    Raises:
        Refused: it says neither or both of how exact and how costly.
        QuestionRefused: a figure is none, or more than the federation allows.
    """
    manifest = federation.manifest
    if wish.epsilon is not None and wish.within is None:
        return cost_of_epsilon(exactly("--epsilon", wish.epsilon), manifest, wish.most_attempts)
    if wish.within is None or wish.epsilon is not None:
        raise Refused("say how exact or how costly", hint="give either --epsilon or --within")
    parts = outline(statement.question, contract, most_cells=manifest.limits.cells).parts
    weights, rows = wish.importance, wish.expected_rows

    def widest_at(rho: Rho) -> float:
        plan = plan_statement(statement, rho, contract, manifest, weights)
        return widest(statement, plan, contract, rows=rows)

    return cost_of_half_width(exactly("--within", wish.within), widest_at, len(parts), manifest, wish.most_attempts)


def exactly(option: str, figure: Figure) -> Fraction:
    """A figure as an exact number.

    Args:
        option: what it is for, in messages.

    Raises:
        QuestionRefused: it is no number, or beyond what can be meant.
    """
    text = f"{figure}"
    try:
        number = exact_number(text)
    except ValueError:
        raise QuestionRefused(f"{option} takes a number above zero, got {text!r}") from None
    if not LEAST_NUMBER <= abs(number) <= 1 / LEAST_NUMBER and number:
        raise QuestionRefused(f"{option}: {text} is beyond what can be meant")
    return number


def whole(option: str, number: object, *, least: int) -> int:
    """A number of things or days.

    Args:
        option: what it is for, in messages.

    Raises:
        QuestionRefused: it is no whole number, or below `least`.
    """
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise QuestionRefused(f"{option} takes a whole number from {least} on, got {number!r}")
    return number
