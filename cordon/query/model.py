"""What an analyst asks (`Question`) and on what terms (`Terms`): frozen, closed, canonical.

A question has one form only, so that its digest names it: measures and keys in the order asked,
forces sorted as bytes, predicates without NOT (negation is pushed into the atoms, which gives SQL's
WHERE semantics for unknown values: a comparison with an unknown number or date is never true).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from cordon.contract import FORCE
from cordon.errors import Malformed
from cordon.units import FORCE_ID, NAME, Digest, Rho

MOST_ATOMS = 256
MOST_DEPTH = 16
MOST_MEASURES = 16
MOST_KEYS = 6
MOST_GROUPINGS = 64
MOST_WIDTHS = 6
MOST_OFFSET = 2**62

LONGEST_LIFE_SECONDS = 90 * 86_400
"""Furthest that a query's expiry may lie ahead; bounds how long reservations and bytes are kept."""

LAST_SECOND = 2**40


class MeasureKind(IntEnum):
    """What is measured in each cell. Values are those of `Measure.Kind` on the wire."""

    COUNT = 1
    """Rows, at most k of each unit."""
    COUNT_UNIT = 2
    """Distinct units, once in each force where they are known."""
    SUM = 3
    """Sum of a bounded number, less a centre, over the known values of those rows."""
    SQUARES = 4
    """Sum of squared distances from a centre, less an offset, over the known values of those rows."""
    HISTOGRAM = 5
    """Rows in each bin of a bounded number, at several widths of the bins."""
    PRODUCTS = 6
    """Sum of products of two bounded numbers, less a centre each, over the rows in which both are known."""


class Grain(IntEnum):
    """How coarse a key is. Values are those of `Key.Grain` on the wire."""

    VALUE = 1
    """The values of a category, or the forces."""
    MONTH = 2
    """Calendar months of a date."""
    DAY = 3
    """Days of a date."""
    QUARTER = 4
    """Calendar quarters of a date."""
    YEAR = 5
    """Calendar years of a date."""
    BIN = 6
    """Bins of a number, whose bounds are whole multiples of the key's width."""


@dataclass(frozen=True, slots=True)
class Member:
    """True where a category is one of `codes` (sorted, distinct, at least one)."""

    column: str
    codes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.codes or list(self.codes) != sorted(set(self.codes)):
            raise Malformed(f"predicate on {self.column}: codes must be sorted and distinct")


@dataclass(frozen=True, slots=True)
class Range:
    """True where a number or date is known and lies in [low, high].

    Units: resolutions for a number, days since 1970-01-01 for a date; None means no bound. A range
    without bounds means 'is known'; one with low > high matches nothing.
    """

    column: str
    low: int | None
    high: int | None

    def __post_init__(self) -> None:
        if any(bound is not None and abs(bound) > 2**53 for bound in (self.low, self.high)):
            raise Malformed(f"predicate on {self.column}: bound out of range")


@dataclass(frozen=True, slots=True)
class Missing:
    """True where a number or date is unknown."""

    column: str


@dataclass(frozen=True, slots=True)
class All:
    """True where every part is; at least two parts."""

    parts: tuple[Predicate, ...]

    def __post_init__(self) -> None:
        _check_parts(self.parts)


@dataclass(frozen=True, slots=True)
class Some:
    """True where at least one part is; at least two parts."""

    parts: tuple[Predicate, ...]

    def __post_init__(self) -> None:
        _check_parts(self.parts)


Atom = Member | Range | Missing
Predicate = Atom | All | Some


def _check_parts(parts: tuple[Predicate, ...]) -> None:
    if len(parts) < 2:
        raise Malformed("a combined predicate needs at least two parts")


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that every cell holds as an integer; what an analyst reads is computed from these.

    `column` names the number and is empty for counts. `centre` (in resolutions) and `offset` (in squared
    resolutions) are public constants that are taken off each known value: they make its range, and so the
    noise, smaller. docs/privacy.md §2. What a version before does not know is empty or zero where it says nothing.
    """

    kind: MeasureKind
    column: str = ""
    where: Predicate | None = None
    """Which rows are measured, of those that the question's `where` leaves; None for all of them."""
    centre: int = 0
    """Of SUM, SQUARES and PRODUCTS."""
    offset: int = 0
    """Of SQUARES."""
    widths: tuple[int, ...] = ()
    """Of HISTOGRAM: of its bins, in resolutions, finest first, each a multiple of the one before."""
    other: str = ""
    """Of PRODUCTS: the number that `column` is multiplied by; sorts after it, so that a product has one form."""
    other_centre: int = 0
    """Of PRODUCTS: of `other`, in its resolutions."""

    def __post_init__(self) -> None:
        if (self.kind in (MeasureKind.COUNT, MeasureKind.COUNT_UNIT)) == bool(self.column):
            raise Malformed("a count names no column, any other measure names one")
        if self.centre and self.kind not in (MeasureKind.SUM, MeasureKind.SQUARES, MeasureKind.PRODUCTS):
            raise Malformed("only SUM, SQUARES and PRODUCTS have a centre")
        if self.offset and self.kind is not MeasureKind.SQUARES:
            raise Malformed("only SQUARES has an offset")
        if abs(self.centre) > 2**53 or not 0 <= self.offset < MOST_OFFSET:
            raise Malformed(f"measure of {self.column}: centre or offset out of range")
        if (self.kind is MeasureKind.HISTOGRAM) != bool(self.widths):
            raise Malformed("a HISTOGRAM has widths, nothing else has")
        _check_widths(self.widths)
        self._check_other()

    def _check_other(self) -> None:
        if (self.kind is MeasureKind.PRODUCTS) != bool(self.other) or (self.other_centre and not self.other):
            raise Malformed("PRODUCTS are of two numbers, nothing else is")
        if self.other and self.column.encode() >= self.other.encode():
            raise Malformed("the two numbers of PRODUCTS are sorted and distinct")
        if abs(self.other_centre) > 2**53:
            raise Malformed(f"measure of {self.other}: centre out of range")

    @property
    def numbers(self) -> tuple[tuple[str, int], ...]:
        """The numbers that are measured, each with its centre; none for counts."""
        pairs = ((self.column, self.centre), (self.other, self.other_centre))
        return tuple((name, centre) for name, centre in pairs if name)


def _check_widths(widths: tuple[int, ...]) -> None:
    if len(widths) > MOST_WIDTHS or not all(0 < width <= 2**53 for width in widths):
        raise Malformed(f"a HISTOGRAM has 1 to {MOST_WIDTHS} widths above zero")
    if any(wider <= width or wider % width for width, wider in pairwise(widths)):
        raise Malformed("each width of a HISTOGRAM must be a multiple of the one before, and larger")


@dataclass(frozen=True, slots=True)
class Key:
    """One thing to group by: a category, `force`, a date at a grain, or a number in bins of `width` resolutions."""

    column: str
    grain: Grain = Grain.VALUE
    width: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.width <= 2**53 if self.grain is Grain.BIN else self.width == 0):
            raise Malformed(f"key {self.column}: bins have a width, nothing else has")


@dataclass(frozen=True, slots=True)
class Grouping:
    """The keys of one table of the answer: ascending indices into the question's keys."""

    keys: tuple[int, ...]

    def __post_init__(self) -> None:
        if list(self.keys) != sorted(set(self.keys)):
            raise Malformed("the keys of a grouping must ascend")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and of which forces. Shape only: `plan` checks it against the contract.

    Raises:
        Malformed: not in canonical form, or over a structural limit.
    """

    dataset: str
    contract_version: int
    measures: tuple[Measure, ...]
    where: Predicate | None
    keys: tuple[Key, ...]
    forces: tuple[str, ...]
    groupings: tuple[Grouping, ...] = ()
    """The tables of the answer; empty for one table by all keys, which has no other form."""

    def __post_init__(self) -> None:
        if not all(NAME.fullmatch(name) for name in (self.dataset, *self.columns)):
            raise Malformed("a data set or column has a name that no contract can have")
        if not 1 <= len(self.measures) <= MOST_MEASURES or len(set(self.measures)) != len(self.measures):
            raise Malformed(f"a question has 1 to {MOST_MEASURES} distinct measures")
        if len(self.keys) > MOST_KEYS or len({key.column for key in self.keys}) != len(self.keys):
            raise Malformed(f"a question has at most {MOST_KEYS} keys, each column once")
        if not self.forces or list(self.forces) != sorted(set(self.forces), key=str.encode):
            raise Malformed("a question names its forces, sorted as bytes and distinct")
        if not all(FORCE_ID.fullmatch(force) for force in self.forces):
            raise Malformed("a question names a force that no manifest can have")
        if len(self.atoms) > MOST_ATOMS or any(_depth(where) > MOST_DEPTH for where in self._predicates):
            raise Malformed(f"predicates have at most {MOST_ATOMS} parts, nested {MOST_DEPTH} deep")
        self._check_groupings()

    def _check_groupings(self) -> None:
        every = tuple(range(len(self.keys)))
        if len(self.groupings) > MOST_GROUPINGS or len(set(self.groupings)) != len(self.groupings):
            raise Malformed(f"a question has at most {MOST_GROUPINGS} distinct groupings")
        if self.groupings == (Grouping(every),):
            raise Malformed("one table by all keys is what a question without groupings asks")
        named = {at for grouping in self.groupings for at in grouping.keys}
        if self.groupings and named != set(every):
            raise Malformed("groupings must name every key of the question, and no other")

    @property
    def tables(self) -> tuple[tuple[int, ...], ...]:
        """The keys of each table of the answer, as indices into `keys`."""
        return tuple(grouping.keys for grouping in self.groupings) or (tuple(range(len(self.keys))),)

    @property
    def by_force(self) -> bool:
        """Whether each force fills cells of its own."""
        return any(key.column == FORCE for key in self.keys)

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """Every atom of every predicate, those of the measures included."""
        return tuple(atom for where in self._predicates for atom in atoms(where))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the question touches, in any role; may repeat, and includes `force` where it is a key."""
        measured = [name for measure in self.measures for name, _ in measure.numbers]
        return (*measured, *(key.column for key in self.keys), *(atom.column for atom in self.atoms))

    @property
    def _predicates(self) -> tuple[Predicate | None, ...]:
        return (self.where, *(measure.where for measure in self.measures))


@dataclass(frozen=True, slots=True)
class SealedSeed:
    """The check seed, sealed to one force with HPKE (RFC 9180, base mode): `enc || ciphertext`."""

    force: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a question is asked; signed with it.

    Times are whole seconds since 1970-01-01 UTC.
    """

    rho: Rho
    """Most rho per attempt; exactly this is charged."""
    block_rho: tuple[Rho, ...]
    """What each block of the plan may spend, in order; sums to `rho` less one nano-rho, which pays for tau."""
    attempts: int
    """Most attempts; the most that the query can cost is `attempts` times `rho`."""
    purpose: str
    manifest_version: int
    nonce: bytes
    """32 random bytes; the salt of every commitment to this query."""
    decide_by: int
    expires: int
    parameter_set: str
    bfv_key_hash: Digest
    seed_hash: Digest
    """SHA-256 of the 32-byte check seed."""
    sealed_seeds: tuple[SealedSeed, ...]
    """One for each force of the question, in its order."""

    def __post_init__(self) -> None:
        if max(self.decide_by, self.expires) >= LAST_SECOND or self.rho.nano >= 2**62:
            raise Malformed("a query's times or its cost are beyond what can be stored")


@dataclass(frozen=True, slots=True)
class Query:
    """A question and its terms, as one analyst signed them."""

    question: Question
    terms: Terms

    def __post_init__(self) -> None:
        if tuple(seed.force for seed in self.terms.sealed_seeds) != self.question.forces:
            raise Malformed("the check seed must be sealed to each force of the question, in order")


def atoms(predicate: Predicate | None) -> list[Atom]:
    """Every atom of a predicate, left to right."""
    if predicate is None:
        return []
    if isinstance(predicate, All | Some):
        return [atom for part in predicate.parts for atom in atoms(part)]
    return [predicate]


def _depth(predicate: Predicate | None) -> int:
    if isinstance(predicate, All | Some):
        return 1 + max(_depth(part) for part in predicate.parts)
    return 0
