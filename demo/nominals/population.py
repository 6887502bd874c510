"""Who is known where: made-up persons, their home forces, and the other forces that know them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo.nominals.draws import Flags, Reals, Whole, shares

SEED = 20_240_101
OVERLAP = 0.05
"""Share of the persons that a force knows whom another force knows too."""

_REACH = {2: 0.80, 3: 0.13, 4: 0.04}
_TAIL_OF_REACH = 0.03
MOST_FORCES = 20
"""Forces that the most widely known person is known to."""

NEIGHBOURS = 0.5
"""Share of the other forces of a person that lie beside the home force in the list."""

EXPORTERS = 0.2
"""Share of the other forces of a person that are one of a few to which people travel from everywhere."""

_TAIL, _TAIL_IF_SHARED = 2.0, 1.5
"""Exponents of P(at least r rows) = r⁻ᵃ: of a person whom one force knows, and of one whom several know."""

MOST_ROWS = 60
WITHHELD = 0.004
"""Share of persons whose rows a force has marked as restricted."""

PNC_STATES = (0.84, 0.01, 0.15)
"""Shares of a force's persons whose PNC id stands right, with a wrong letter, and not at all."""


@dataclass(frozen=True, slots=True)
class Population:
    """Persons are numbers from 0. Everything follows from the seed."""

    seed: int
    homes: Whole
    """First person of each force, and one more: force h is home to the persons from homes[h] up to homes[h + 1]."""

    known: tuple[Flags, ...]
    """For each home force, of its first persons: a line for each, a column for each force that may know them."""

    most_rows: int
    """Of one person in one force."""

    @property
    def forces(self) -> int:
        """Number of forces."""
        return len(self.known)

    def persons(self, force: int) -> Whole:
        """The persons whom a force knows: its own, and those of others."""
        own = np.arange(self.homes[force], self.homes[force + 1])
        guests = [
            self.homes[home] + np.flatnonzero(known[:, force]) for home, known in enumerate(self.known) if home != force
        ]
        return np.concatenate([own, *guests])

    def rows(self, persons: Whole, force: int) -> Whole:
        """How often a force has met each of `persons`: at least once, a few very often."""
        homes = np.searchsorted(self.homes, persons, side="right") - 1
        shared = persons - self.homes[homes] < np.array([len(known) for known in self.known])[homes]
        tail = np.where(shared, _TAIL_IF_SHARED, _TAIL)
        met = shares(self.seed, "rows", persons, np.full_like(persons, force))
        return np.minimum((1 - met) ** (-1 / tail), self.most_rows).astype(np.int64)

    def restricted(self, persons: Whole, force: int) -> Flags:
        """Whether the force has marked the rows of each person as restricted."""
        marked: Flags = shares(self.seed, "withheld", persons, np.full_like(persons, force)) < WITHHELD
        return marked

    def pnc_shares(self, persons: Whole, force: int) -> Reals:
        """What decides whether a force holds a person's PNC id; see `PNC_STATES`."""
        return shares(self.seed, "pnc", persons, np.full_like(persons, force))


def make_population(
    forces: int, *, persons: int, seed: int = SEED, overlap: float = OVERLAP, most_rows: int = MOST_ROWS
) -> Population:
    """A population over so many forces.

    Args:
        persons: about so many in all.
        overlap: share of the persons that a force knows whom another one knows too; 0 to 0.5.
        most_rows: of one person in one force.
    """
    generator = np.random.default_rng([seed, forces])
    weights = generator.lognormal(0, 0.6, forces)
    sizes = np.maximum(np.round(weights / weights.sum() * persons), 4).astype(np.int64)
    reach = _reach(forces)
    share, _ = _shared(reach, overlap, forces)
    exporters = np.argsort(-sizes)[: max(1, forces // 12)]
    streams = np.random.SeedSequence([seed, forces]).spawn(forces)
    known = tuple(
        _known(np.random.default_rng(stream), home, round(share * float(sizes[home])), reach, exporters, sizes)
        for home, stream in enumerate(streams)
    )
    return Population(seed, np.concatenate([[0], np.cumsum(sizes)]), known, most_rows)


def persons_for(rows: int, forces: int, overlap: float = OVERLAP, most_rows: int = MOST_ROWS) -> int:
    """How many persons there are if all forces together hold about so many rows."""
    several = np.arange(1, most_rows + 1, dtype=np.float64)
    share, mean = _shared(_reach(forces), overlap, forces)
    # The mean of a whole number is the sum of P(at least r) over r.
    alone = (1 - share) * (several**-_TAIL).sum()
    known_elsewhere = share * mean * (several**-_TAIL_IF_SHARED).sum()
    return max(1, round(rows / float(alone + known_elsewhere)))


def _shared(reach: Reals, overlap: float, forces: int) -> tuple[float, float]:
    """Share of a force's own persons whom others know, and how many forces know each of these on average."""
    mean = float(np.arange(len(reach)) @ reach)
    # Of n own persons q·n are known elsewhere, and q·n·(mean − 1) of others' are known here.
    return (overlap / (mean - overlap * (mean - 1)) if forces > 1 else 0.0), mean


def _reach(forces: int) -> Reals:
    """Probability of each number of forces, of a person whom several know."""
    most = min(MOST_FORCES, max(forces, 2))
    reach = np.zeros(most + 1)
    for count, share in _REACH.items():
        reach[min(count, most)] += share
    tail = 0.75 ** np.arange(5, most + 1) if most >= 5 else np.ones(1)
    reach[-len(tail) :] += _TAIL_OF_REACH * tail / tail.sum()
    return reach


def _known(
    generator: np.random.Generator, home: int, count: int, reach: Reals, exporters: Whole, sizes: Whole
) -> Flags:
    forces = len(sizes)
    known = np.zeros((count, forces), np.bool_)
    known[:, home] = True
    wanted = generator.choice(len(reach), count, p=reach)
    # Who is drawn twice draws again. Whoever wants nearly all forces may be left with fewer; the truth counts them.
    for _ in range(400):
        short = np.flatnonzero(known.sum(axis=1) < wanted)
        if not len(short):
            break
        known[short, _partners(generator, home, len(short), exporters, sizes)] = True
    return known


def _partners(generator: np.random.Generator, home: int, count: int, exporters: Whole, sizes: Whole) -> Whole:
    forces = len(sizes)
    near = (home + generator.choice([-2, -1, 1, 2], count, p=(0.15, 0.35, 0.35, 0.15))) % forces
    far = generator.choice(exporters, count)
    any_force = generator.choice(forces, count, p=sizes / sizes.sum())
    which = generator.random(count)
    return np.where(which < NEIGHBOURS, near, np.where(which < NEIGHBOURS + EXPORTERS, far, any_force))
