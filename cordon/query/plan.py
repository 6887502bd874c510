"""From a question to integers on the wire: cells, blocks, sensitivities, scale, parameter set.

Pure: every party computes the plan for itself, and a digest of it is compared before a roster is
fixed, so that two versions that would answer differently never share one. docs/protocol.md §6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import NamedTuple

from cordon.accounting import MARGIN, fixed_point_scale, share_sigma
from cordon.contract import FORCE, Category, Contract, Date, Identifier, Number, day, next_month
from cordon.errors import QuestionRefused
from cordon.query.model import (
    All,
    Grain,
    Key,
    Measure,
    MeasureKind,
    Member,
    Missing,
    Predicate,
    Question,
    Range,
    atoms,
)
from cordon.units import Digest, Rho, tagged_digest

CHECK_CELLS = 3
"""The constant 1 and two tags, in the last three slots of the vector."""

NOISE_REACH = 12
"""Standard deviations of noise that must fit below half the plaintext modulus."""


class ParameterSet(NamedTuple):
    """One fixed set of BFV parameters, for at least 128-bit security by SEAL's own limits."""

    name: str
    slots: int
    """Polynomial degree N, and cells in one ciphertext."""
    modulus: int
    """Plaintext modulus t: prime, 1 modulo 2N."""
    key_moduli: tuple[int, ...]
    """Coefficient moduli q_i; the last is SEAL's special prime, which keys have and ciphertexts have not."""

    @property
    def moduli(self) -> tuple[int, ...]:
        """Coefficient moduli of a ciphertext."""
        return self.key_moduli[:-1]


SMALL = ParameterSet("small", 4096, 1073692673, (18014398509309953, 36028797018652673))
WIDE = ParameterSet(
    "wide",
    8192,
    288230376150876161,
    (8796092792833, 8796092858369, 17592184717313, 17592185438209, 17592186028033),
)
PARAMETER_SETS = {SMALL.name: SMALL, WIDE.name: WIDE}


@dataclass(frozen=True, slots=True)
class Axis:
    """The public values of one key, in cell order: codes, force ids, or months as `YYYY-MM`."""

    key: Key
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """The cells of one measure."""

    measure: Measure
    d_squared: Fraction
    """Square of the L2 sensitivity for one unit's rows added or removed in one force, unscaled."""
    bound: int
    """Largest magnitude of one force's cell, unscaled; public."""
    rho: Rho
    scale: int
    """Fixed-point scale: what travels is the cell times this."""
    start: int
    """Index of the block's first cell in the vector."""
    cells: int

    def share(self, roster: int, colluders: int) -> Fraction:
        """Sigma of one force's share at a roster of `roster` forces, in scaled units."""
        return share_sigma(self.d_squared, self.rho, scale=self.scale, roster=roster, colluders=colluders)

    def sigma(self, roster: int, colluders: int) -> float:
        """Standard deviation of the noise in one cell of the answer, in the measure's unit."""
        return float(self.share(roster, colluders)) * math.sqrt(roster) / self.scale


@dataclass(frozen=True)
class Plan:
    """How one question becomes one vector of integers; the roster's size is still open."""

    question: Question
    axes: tuple[Axis, ...]
    blocks: tuple[Block, ...]
    parameters: ParameterSet
    colluders: int

    @property
    def cells(self) -> int:
        """Length of the vector without its check cells."""
        return sum(block.cells for block in self.blocks)

    @property
    def ciphertexts(self) -> int:
        """Ciphertexts that hold the cells and the check cells."""
        return -(-(self.cells + CHECK_CELLS) // self.parameters.slots)

    @cached_property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The key values of each cell of a block, first key slowest; one empty row without keys."""
        return tuple(product(*(axis.values for axis in self.axes)))

    def text(self) -> str:
        """The base plan in its canonical form, one fact a line. docs/protocol.md §6."""
        lines = [
            "cordon base plan v1",
            f"parameters {self.parameters.name}",
            f"forces {len(self.question.forces)}",
            f"colluders {self.colluders}",
            f"cells {self.cells}",
            f"ciphertexts {self.ciphertexts}",
        ]
        lines += [f"axis {axis.key.column} {axis.key.grain.name.lower()} {' '.join(axis.values)}" for axis in self.axes]
        lines += [
            f"block {block.measure.kind.name.lower()} {block.measure.column or '-'}"
            f" start {block.start} cells {block.cells}"
            f" sensitivity^2 {block.d_squared.numerator}/{block.d_squared.denominator}"
            f" bound {block.bound} nano-rho {block.rho.nano} scale {block.scale}"
            for block in self.blocks
        ]
        return "\n".join(lines) + "\n"

    @cached_property
    def digest(self) -> Digest:
        """Names the base plan; blinded with the query's nonce before it travels."""
        return tagged_digest("cordon/v1/base-plan", self.text().encode())

    def completed_digest(self, roster: int) -> Digest:
        """Names the plan completed with each block's share for a roster of `roster` forces."""
        shares = "".join(f"share {int(block.share(roster, self.colluders) * 2**16)}/65536\n" for block in self.blocks)
        text = f"{self.text()}roster {roster}\n{shares}"
        return tagged_digest("cordon/v1/completed-plan", text.encode())


def blinded(nonce: bytes, digest: Digest) -> Digest:
    """A question's or plan's digest as it may stand in a leaf: not to be guessed without the nonce."""
    return tagged_digest("cordon/v1/blinded", nonce, digest)


def split_evenly(rho: Rho, blocks: int) -> tuple[Rho, ...]:
    """Share `rho`, less the margin for tau, equally among blocks; the first ones take the remainder.

    Raises:
        QuestionRefused: less than one nano-rho a block.
    """
    each, rest = divmod(rho.nano - MARGIN.nano, blocks)
    if each < 1:
        raise QuestionRefused("the privacy cost is too small to buy any answer", hint="ask with a larger --epsilon")
    return tuple(Rho(each + (at < rest)) for at in range(blocks))


def make_plan(
    question: Question, block_rho: tuple[Rho, ...], contract: Contract, *, colluders: int, most_cells: int
) -> Plan:
    """Plan a question.

    Args:
        block_rho: what each measure's block may spend.
        colluders: tolerated colluding forces c, from the manifest.
        most_cells: the manifest's limit per query.

    Raises:
        QuestionRefused: the question does not fit the contract, the limits or any parameter set.
    """
    if (question.dataset, question.contract_version) != (contract.dataset, contract.version):
        raise QuestionRefused(f"{question.dataset} v{question.contract_version} is not the contract at hand")
    if len(block_rho) != len(question.measures) or any(rho.nano < 1 for rho in block_rho):
        raise QuestionRefused("each measure needs a share of the privacy cost")
    for atom in atoms(question.where):
        _check_atom(atom, contract)
    axes = tuple(_axis(key, question, contract) for key in question.keys)
    cells = math.prod(len(axis.values) for axis in axes)
    if cells * len(question.measures) > most_cells:
        raise QuestionRefused(
            f"the answer would have {cells * len(question.measures)} cells; the federation allows {most_cells}",
            hint="group by fewer columns, or narrow them with WHERE",
        )
    blocks = tuple(
        _block(at, measure, rho, cells, question=question, contract=contract, colluders=colluders)
        for at, (measure, rho) in enumerate(zip(question.measures, block_rho, strict=True))
    )
    return Plan(question, axes, blocks, _parameters(blocks, len(question.forces), colluders), colluders)


def _block(
    at: int, measure: Measure, rho: Rho, cells: int, *, question: Question, contract: Contract, colluders: int
) -> Block:
    d_squared, largest = _sensitivity(measure, question, contract)
    scale = fixed_point_scale(d_squared, rho, forces=len(question.forces), colluders=colluders)
    bound = contract.unit.max_rows_per_force * largest
    return Block(measure, d_squared, bound, rho, scale, at * cells, cells)


def _sensitivity(measure: Measure, question: Question, contract: Contract) -> tuple[Fraction, int]:
    """D² of a block, and the most that one row adds to a cell. docs/privacy.md §2."""
    k = contract.unit.max_rows_per_unit
    if measure.kind is MeasureKind.COUNT:
        return Fraction(k * k), 1
    if measure.kind is MeasureKind.COUNT_UNIT:
        if contract.unit.kind == "row":
            raise QuestionRefused(
                f"in {contract.dataset} each row is its own unit, so there are no distinct units to count",
                hint="use COUNT(*)",
            )
        # A unit of one force falls in one force's cells only, so `force` does not multiply its groups.
        groups = k if any(key.column != FORCE for key in question.keys) else 1
        return Fraction(groups), 1
    column = _column(measure.column, contract)
    if not isinstance(column, Number):
        raise QuestionRefused(
            f"SUM needs a bounded number; {column.name} is a {column.kind}", hint=_numbers_of(contract)
        )
    largest = max(abs(column.low), abs(column.high))
    return Fraction((k * largest) ** 2), largest


def _numbers_of(contract: Contract) -> str:
    names = [column.name for column in contract.columns if isinstance(column, Number)]
    return f"numbers of {contract.dataset}: {', '.join(names)}" if names else f"{contract.dataset} has no numbers"


def _parameters(blocks: tuple[Block, ...], forces: int, colluders: int) -> ParameterSet:
    for parameters in (SMALL, WIDE):
        if all(2 * _reach(block, forces, colluders) < parameters.modulus for block in blocks):
            return parameters
    raise QuestionRefused(
        "the totals could be too large to travel exactly",
        hint="ask with a larger --epsilon, or sum a number with a smaller range",
    )


def _reach(block: Block, forces: int, colluders: int) -> int:
    """Largest magnitude of one scaled total, noise included, at any roster that may be fixed."""
    # At a roster of c+1 the noise is largest: every force then adds as much as if it stood alone.
    alone = math.ceil(block.share(1, colluders))
    noise = NOISE_REACH * alone * (math.isqrt(min(forces, colluders + 1)) + 1)
    return forces * block.scale * block.bound + noise


def _axis(key: Key, question: Question, contract: Contract) -> Axis:
    if key.column == FORCE:
        values = question.forces if key.grain is Grain.VALUE else ()
    else:
        values = _values(key, contract, _conjuncts(question.where))
    if not values:
        raise QuestionRefused(f"nothing is left to group {key.column} by", hint="widen the WHERE clause")
    return Axis(key, values)


def _values(key: Key, contract: Contract, narrowing: list[Predicate]) -> tuple[str, ...]:
    column = _column(key.column, contract)
    if isinstance(column, Category) and key.grain is Grain.VALUE:
        kept = [set(p.codes) for p in narrowing if isinstance(p, Member) and p.column == column.name]
        return tuple(c.code for c in column.codes if all(c.code in codes for codes in kept))
    if isinstance(column, Date) and key.grain is Grain.MONTH:
        ranges = [p for p in narrowing if isinstance(p, Range) and p.column == column.name]
        return tuple(f"{day(start):%Y-%m}" for start in column.months if all(_meets(start, r) for r in ranges))
    raise QuestionRefused(
        f"{column.name} is a {column.kind} and cannot be grouped by as asked",
        hint="group by a category, by MONTH(date) or by force",
    )


def _meets(month: int, wanted: Range) -> bool:
    from_day, last = month, (next_month(day(month)) - day(0)).days - 1
    return (wanted.low is None or wanted.low <= last) and (wanted.high is None or from_day <= wanted.high)


def _conjuncts(where: Predicate | None) -> list[Predicate]:
    if isinstance(where, All):
        return [inner for part in where.parts for inner in _conjuncts(part)]
    return [] if where is None else [where]


def _check_atom(atom: Member | Range | Missing, contract: Contract) -> None:
    column = _column(atom.column, contract)
    if isinstance(column, Identifier):
        raise QuestionRefused(f"{column.name} is an identifier and cannot be filtered by")
    if isinstance(atom, Member) != isinstance(column, Category):
        raise QuestionRefused(f"{column.name} is a {column.kind} and cannot be compared like that")
    if isinstance(atom, Member) and isinstance(column, Category):
        strange = [code for code in atom.codes if code not in column.positions]
        if strange:
            raise QuestionRefused(f"{column.name} has no code {strange[0]!r}")


def _column(name: str, contract: Contract) -> Category | Date | Number | Identifier:
    try:
        return contract.column(name)
    except KeyError:
        columns = ", ".join(column.name for column in contract.columns)
        raise QuestionRefused(f"{contract.dataset} has no column {name}", hint=f"its columns: {columns}") from None
