"""What a regression is of: a formula, checked against the contract. Nothing is asked here.

A number enters less a public constant, the middle of its bounds, and its squares less half of the largest: both make
the noise of their sums smaller and change no slope (docs/privacy.md §2).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from cordon.contract import Contract, Number
from cordon.query.model import MOST_MEASURES
from cordon.units import exact_text


@dataclass(frozen=True, slots=True)
class Quantity:
    """A bounded number of the contract, as a model takes it."""

    column: Number

    @property
    def name(self) -> str:
        """Of the column."""
        return self.column.name

    @property
    def centre(self) -> int:
        """Middle of the bounds in resolutions; zero where it has no decimal form, which SQL would need."""
        return (self.column.low + self.column.high) // 2 if "/" not in exact_text(self.column.resolution) else 0

    @property
    def reach(self) -> int:
        """Furthest that a value lies from the centre, in resolutions."""
        return max(self.column.high - self.centre, self.centre - self.column.low)

    @property
    def offset(self) -> int:
        """What is taken off each square, in squared resolutions."""
        return self.reach**2 // 2 if "/" not in exact_text(self.column.resolution) else 0

    @property
    def middle(self) -> Fraction:
        """The centre in the column's unit."""
        return self.centre * self.column.resolution


@dataclass(frozen=True, slots=True)
class Group:
    """A category of the contract, or `force`; each level but the first is compared with the first."""

    name: str
    levels: tuple[str, ...]
    """Labels as answers print them; the reference first."""
    chosen: bool = False
    """Whether the reference was asked for, and must not be replaced."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a category has one code: a response of 1 or 0."""

    name: str
    code: str
    label: str


@dataclass(frozen=True)
class Model:
    """A checked formula over one data set."""

    contract: Contract
    response: Quantity | Condition
    numbers: tuple[Quantity, ...]
    groups: tuple[Group, ...]
    formula: str
    """In one form, e.g. `loss_gbp ~ age + gender`."""

    @property
    def unit(self) -> str:
        """What the response and its differences are in."""
        return self.response.column.unit if isinstance(self.response, Quantity) else "percentage points"

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """Every number of the model; the response last, where it is one."""
        return (*self.numbers, self.response) if isinstance(self.response, Quantity) else self.numbers

    @cached_property
    def moments(self) -> tuple[Moment, ...]:
        """The sums that the model is fitted from, in the order in which they are asked for."""
        numbers, response = len(self.numbers), len(self.numbers)
        last = response + 1 if isinstance(self.response, Quantity) else numbers
        found = [Moment()]
        found += [Moment((at,)) for at in range(last)]
        found += [Moment((at, at)) for at in range(last)]
        found += [Moment((at, other)) for at in range(last) for other in range(at + 1, last)]
        if isinstance(self.response, Condition):
            found += [Moment((response,), within=True)]
            found += [Moment((at, response), within=True) for at in range(numbers)]
        return tuple(found)

    @property
    def is_small_enough(self) -> bool:
        """Whether one question holds its sums."""
        return len(self.moments) <= MOST_MEASURES


@dataclass(frozen=True, slots=True)
class Moment:
    """A sum over rows: of 1, of a variable, or of the product of two. Variables are numbered, the response last."""

    of: tuple[int, ...] = ()
    within: bool = False
    """Whether the response is a condition, and the sum is over the rows that meet it."""
