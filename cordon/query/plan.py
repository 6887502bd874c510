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
from cordon.contract import Category, Contract, Identifier
from cordon.errors import QuestionRefused
from cordon.query.axes import Axis, column_of, make_axis
from cordon.query.model import Measure, Member, Missing, Question, Range
from cordon.query.sensitivity import bounded_number, largest_value, squared_sensitivity
from cordon.units import Digest, Rho, tagged_digest

CHECK_CELLS = 3
"""The constant 1 and two tags, in the last three slots of the vector."""

MOST_BLOCKS = 256
"""Parts of one plan that need a share of the cost each."""

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


class Part(NamedTuple):
    """The cells of one measure in one table, before anything is said of cost."""

    measure: int
    """Index into the question's measures."""
    keys: tuple[int, ...]
    """Which axes the table has."""
    width: int
    """Of a histogram's bins, which vary fastest, in resolutions; 0 for other measures."""
    cells: int
    d_squared: Fraction
    largest: int
    """Largest magnitude that one row adds to a cell."""


@dataclass(frozen=True)
class Outline:
    """What follows from a question and its contract alone: axes, and the parts that need a share of the cost each."""

    question: Question
    axes: tuple[Axis, ...]
    parts: tuple[Part, ...]
    """Measure by measure, within it table by table, within it the histogram's widths from the finest."""


@dataclass(frozen=True, slots=True)
class Block:
    """The cells of one part, with what they cost."""

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
    keys: tuple[int, ...] = ()
    """The axes of its table, as indices into the plan's."""
    width: int = 0
    """Of a histogram's bins, which vary fastest; 0 for other measures."""

    def share(self, roster: int, colluders: int) -> Fraction:
        """Sigma of one force's share at a roster of `roster` forces, in scaled units."""
        return share_sigma(self.d_squared, self.rho, scale=self.scale, roster=roster, colluders=colluders)

    def sigma(self, roster: int, colluders: int) -> float:
        """Standard deviation of the noise in one cell of the answer, in the measure's integer unit."""
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
        """The key values of each row of a table by all keys, first key slowest; one empty row without keys."""
        return self.rows_of(tuple(range(len(self.axes))))

    def rows_of(self, keys: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
        """The key values of each row of the table with these axes, first slowest."""
        return tuple(product(*(self.axes[at].values for at in keys)))

    def text(self) -> str:
        """The base plan in its canonical form, one fact a line. docs/protocol.md §6.5."""
        lines = [
            "cordon base plan v1",
            f"parameters {self.parameters.name}",
            f"forces {len(self.question.forces)}",
            f"colluders {self.colluders}",
            f"cells {self.cells}",
            f"ciphertexts {self.ciphertexts}",
        ]
        lines += [_axis_line(axis) for axis in self.axes]
        lines += [_block_line(block, self.question) for block in self.blocks]
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


def _axis_line(axis: Axis) -> str:
    width = f" width {axis.key.width}" if axis.key.width else ""
    return f"axis {axis.key.column} {axis.key.grain.name.lower()}{width} {' '.join(axis.values)}"


def _block_line(block: Block, question: Question) -> str:
    measure = block.measure
    line = (
        f"block {measure.kind.name.lower()} {'*'.join(name for name, _ in measure.numbers) or '-'}"
        f" start {block.start} cells {block.cells}"
        f" sensitivity^2 {block.d_squared.numerator}/{block.d_squared.denominator}"
        f" bound {block.bound} nano-rho {block.rho.nano} scale {block.scale}"
    )
    # What questions of one table and simple measures do not have is left out: their plans keep their digests.
    if question.groupings:
        line += f" keys {','.join(map(str, block.keys)) or '-'}"
    if block.width:
        line += f" width {block.width}"
    if measure.centre or measure.offset:
        line += f" centre {measure.centre} offset {measure.offset}"
    if measure.other_centre:
        line += f" other centre {measure.other_centre}"
    return line


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


def outline(question: Question, contract: Contract, *, most_cells: int) -> Outline:
    """What a question asks of a contract, before anything is said of cost.

    Args:
        most_cells: the manifest's limit per query.

    Raises:
        QuestionRefused: the question does not fit the contract or the limit.
    """
    if (question.dataset, question.contract_version) != (contract.dataset, contract.version):
        raise QuestionRefused(f"{question.dataset} v{question.contract_version} is not the contract at hand")
    for atom in question.atoms:
        _check_atom(atom, contract)
    axes = tuple(make_axis(key, question, contract, most=most_cells) for key in question.keys)
    parts = tuple(
        _part(at, keys, width, axes, question, contract)
        for at, measure in enumerate(question.measures)
        for keys in question.tables
        for width in measure.widths or (0,)
    )
    _check_size(parts, most_cells)
    return Outline(question, axes, parts)


def _check_size(parts: tuple[Part, ...], most_cells: int) -> None:
    cells = sum(part.cells for part in parts)
    if cells > most_cells:
        raise QuestionRefused(
            f"the answer would have {cells} cells; the federation allows {most_cells}",
            hint="group by fewer columns, or narrow them with WHERE",
        )
    if len(parts) > MOST_BLOCKS:
        raise QuestionRefused(
            f"the plan would have {len(parts)} blocks, more than {MOST_BLOCKS}",
            hint="ask for fewer measures or fewer grouping sets",
        )


def make_plan(
    question: Question, block_rho: tuple[Rho, ...], contract: Contract, *, colluders: int, most_cells: int
) -> Plan:
    """Plan a question.

    Args:
        block_rho: what each part of the outline may spend, in its order.
        colluders: tolerated colluding forces c, from the manifest.
        most_cells: the manifest's limit per query.

    Raises:
        QuestionRefused: the question does not fit the contract, the limits or any parameter set.
    """
    outlined = outline(question, contract, most_cells=most_cells)
    if len(block_rho) != len(outlined.parts) or any(rho.nano < 1 for rho in block_rho):
        raise QuestionRefused("each block of the plan needs a share of the privacy cost")
    blocks: list[Block] = []
    start = 0
    for part, rho in zip(outlined.parts, block_rho, strict=True):
        blocks.append(_block(part, rho, start, outlined, contract, colluders))
        start += part.cells
    parameters = _parameters(tuple(blocks), len(question.forces), colluders)
    return Plan(question, outlined.axes, tuple(blocks), parameters, colluders)


def _part(
    at: int, keys: tuple[int, ...], width: int, axes: tuple[Axis, ...], question: Question, contract: Contract
) -> Part:
    measure, table = question.measures[at], [axes[key] for key in keys]
    d_squared, largest = squared_sensitivity(measure, table, contract), largest_value(measure, contract)
    bins = 1
    if width:
        column = bounded_number(measure, contract)
        bins = -(-(column.high - column.low + 1) // width)
    return Part(at, keys, width, bins * math.prod(len(axis.values) for axis in table), d_squared, largest)


def _block(part: Part, rho: Rho, start: int, outlined: Outline, contract: Contract, colluders: int) -> Block:
    question = outlined.question
    scale = fixed_point_scale(part.d_squared, rho, forces=len(question.forces), colluders=colluders)
    bound = contract.unit.max_rows_per_force * part.largest
    measure = question.measures[part.measure]
    return Block(measure, part.d_squared, bound, rho, scale, start, part.cells, part.keys, part.width)


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


def _check_atom(atom: Member | Range | Missing, contract: Contract) -> None:
    column = column_of(atom.column, contract)
    if isinstance(column, Identifier):
        raise QuestionRefused(f"{column.name} is an identifier and cannot be filtered by")
    if isinstance(atom, Member) != isinstance(column, Category):
        raise QuestionRefused(f"{column.name} is a {column.kind} and cannot be compared like that")
    if isinstance(atom, Member) and isinstance(column, Category):
        strange = [code for code in atom.codes if code not in column.positions]
        if strange:
            raise QuestionRefused(f"{column.name} has no code {strange[0]!r}")
