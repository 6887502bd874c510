"""What a force knows, as numbers and before any records system has spelt it: one row for each occasion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.nominals.draws import Flags, Positions, Whole, chosen, drawn, scattered, shares
from demo.nominals.population import PNC_STATES, Population
from demo.nominals.values import (
    ANY_ROLE,
    AS_MOSTLY,
    GENDER_WEIGHTS,
    GENDERS,
    GROUPS,
    MISSING,
    MOSTLY,
    NO_ROLE,
    OFFENCE_WEIGHTS,
    OFFENCES,
    OUTCOME_WEIGHTS,
    RISK_WEIGHTS,
    RISKS,
    VICTIM,
)

FIRST_DAY = int(np.datetime64("2024-01-01").astype(int))
DAYS = 731
"""The contract's two years."""

BATCH = 250_000
"""Persons whose rows are made at once, which bounds memory."""

FEWEST_BATCHES = 2
"""So that what is spread over several files is so in a small example too."""

NAMELESS = 0.005
"""Rows that name nobody, as a share of those that do."""

PNC_IDS, PHONES, VEHICLES = 300_000_000, 300_000_000, 19 * 22 * 48 * 24**3
"""How many identifiers of each kind there are to give."""

_SUMMER = ((90, 300), (454, 664))
"""Days from FIRST_DAY on which clocks change: 31 March and 27 October 2024, 30 March and 26 October 2025."""

_BIRTHS_FROM = int(np.datetime64("1885-01-01").astype(int))
Columns = dict[str, NDArray[Any]]


def batches(population: Population, force: int, seen_as: Mapping[int, int]) -> Iterator[Columns]:
    """A force's rows, some hundred thousand at a time.

    Args:
        seen_as: ethnic groups, by position, that the force's records system cannot tell from another.
    """
    persons = population.persons(force)
    (stream,) = np.random.SeedSequence([population.seed, population.forces, force]).spawn(1)
    generator = np.random.default_rng(stream)
    size = min(BATCH, -(-len(persons) // FEWEST_BATCHES))
    for start in range(0, len(persons), size):
        rows = _Rows(population, force, persons[start : start + size], generator)
        yield rows.columns(seen_as)


class _Rows:
    """Rows of some persons, in an order that tells nothing."""

    def __init__(self, population: Population, force: int, persons: Whole, generator: np.random.Generator) -> None:
        met = population.rows(persons, force)
        of = np.repeat(persons, met)
        occasion = np.arange(len(of)) - np.repeat(np.cumsum(met) - met, met)
        nameless = max(1, round(len(of) * NAMELESS))
        order = generator.permutation(len(of) + nameless)
        self.of: Whole = np.concatenate([of, np.full(nameless, -1)])[order]
        self.occasion: Whole = np.concatenate([occasion, np.zeros(nameless, np.int64)])[order]
        self.named: Flags = self.of >= 0
        self.population = population
        self.force = np.full_like(self.of, force)
        self.generator = generator

    def columns(self, seen_as: Mapping[int, int]) -> Columns:
        """Everything about the rows, by the name of the fact."""
        role = self._role()
        day = self._day()
        dated = (self.generator.random(len(day)) >= 0.02) | (self.occasion > 0)
        return {
            "person": _known(self.of, self.named),
            # Of each person one row, from which what is said of the person itself is taken.
            "leads": self.named & (self.occasion == 0),
            "ref": (self.of * 2_654_435_761 + 977 * self.force) % 10_000_000_000,
            "day": _known(FIRST_DAY + day, dated),
            "second": self._second(day),
            "summer": _summer(day),
            "role": role,
            "offence": self._offence(role),
            "risk": self._risk(role),
            "outcome": self._outcome(role),
            **self._loss(role),
            **self._person(seen_as),
            **self._age(day, dated),
            **self._identifiers(),
            "mess": self.generator.integers(0, 240, len(day), np.uint8),
            "restricted": self.named & self.population.restricted(self.of, int(self.force[0])),
            "copies": 1 + (self.named & (self.generator.random(len(day)) < 0.01)).astype(np.uint8),
        }

    def _share(self, what: str) -> NDArray[np.float64]:
        return shares(self.population.seed, what, self.of)

    def _role(self) -> Positions:
        mostly = chosen(self._share("role"), MOSTLY)
        now = chosen(self.generator.random(len(self.of)), ANY_ROLE)
        role: Positions = np.where(self.generator.random(len(self.of)) < AS_MOSTLY, mostly, now)
        return role

    def _day(self) -> Whole:
        """Days that differ among one person's rows: a step below 17 shares no divisor with 731 = 17 · 43."""
        bits = drawn(self.population.seed, "days", self.of, self.force)
        first, step = (bits % np.uint64(DAYS)).astype(np.int64), 1 + (bits >> np.uint64(60)).astype(np.int64)
        nameless = self.generator.integers(0, DAYS, len(self.of))
        return np.where(self.named, (first + self.occasion * step) % DAYS, nameless)

    def _second(self, day: Whole) -> NDArray[np.int32]:
        """Second of the civil day; none in the hours in which clocks change."""
        second = self.generator.integers(0, 86_400, len(day), np.int32)
        changes = np.isin(day, [at for both in _SUMMER for at in both])
        return np.where(changes, np.maximum(second, 4 * 3600), second).astype(np.int32)

    def _offence(self, role: Positions) -> Positions:
        offence = chosen(self.generator.random(len(role)), OFFENCE_WEIGHTS)
        return np.where(role == MISSING, OFFENCES.index("none"), offence).astype(np.uint8)

    def _risk(self, role: Positions) -> Positions:
        risk = chosen(self.generator.random(len(role)), RISK_WEIGHTS)
        otherwise = np.where(role == NO_ROLE, RISKS.index("unknown"), RISKS.index("not_missing"))
        return np.where(role == MISSING, risk, otherwise).astype(np.uint8)

    def _outcome(self, role: Positions) -> Positions:
        edges = np.cumsum(OUTCOME_WEIGHTS, axis=1)[:, :-1]
        at = self.generator.random(len(role))
        outcome: Positions = np.sum([at >= edge[role] for edge in edges.T], axis=0, dtype=np.uint8)
        return outcome

    def _loss(self, role: Positions) -> Columns:
        """Pence that a victim has lost, never half a pound over, so that no rounding rule matters."""
        pounds = self.generator.gamma(1.2, 900, len(role)).astype(np.int32)
        pence = self.generator.integers(0, 100, len(role), np.int32)
        lost = np.where(self.generator.random(len(role)) < 0.6, 100 * pounds + pence + (pence == 50), 0)
        return {"loss": _known(lost.astype(np.int32), (role == VICTIM) & (self.generator.random(len(role)) < 0.97))}

    def _person(self, seen_as: Mapping[int, int]) -> Columns:
        gender = np.where(self.named, chosen(self._share("gender"), GENDER_WEIGHTS), GENDERS.index("unknown"))
        group = np.where(self.named, chosen(self._share("group"), [weight for _, _, weight in GROUPS]), len(GROUPS) - 1)
        broad = np.array([seen_as.get(position, position) for _, position, _ in GROUPS], np.uint8)
        return {"gender": gender.astype(np.uint8), "ethnic_group": group.astype(np.uint8), "ethnicity": broad[group]}

    def _age(self, day: Whole, dated: Flags) -> Columns:
        """Date of birth as YYYYMMDD, and the age on the day of the record."""
        share = self._share("birth")
        # One in some thousands was born too early to be true: the contract's bound is met.
        years = np.where(share > 0.9997, 125, 11 + 70 * share**1.6)
        born = FIRST_DAY - (years * 365.25).astype(np.int64)
        born_on, recorded_on = _BIRTHS[born - _BIRTHS_FROM], _RECORDS[day]
        known = self.named & (self._share("dob") >= 0.02)
        return {"born": _known(born_on, known), "age": _known((recorded_on - born_on) // 10_000, known & dated)}

    def _identifiers(self) -> Columns:
        persons = np.maximum(self.of, 0)
        state = chosen(self.population.pnc_shares(persons, int(self.force[0])), PNC_STATES)
        number, given = self._share("phones"), self.generator.random(len(persons))
        # A tenth of the numbers is used by up to four persons who stand beside each other.
        holder = np.where(self._share("household") < 0.1, persons - persons % 4, persons)
        second = (number > 0.75) & (given < 0.3)
        has_phone = self.named & (number > 0.15) & (given < 0.8)
        has_vehicle = self.named & (self._share("vehicle") < 0.45) & (self.generator.random(len(persons)) < 0.6)
        return {
            "pnc": _known(scattered(persons, PNC_IDS), self.named & (state < 2)),
            "wrong_letter": (state == 1).astype(np.uint8),
            "phone": _known(7_100_000_000 + scattered(2 * holder + second, PHONES), has_phone),
            "no_mobile": self.generator.random(len(persons)) < 0.01,
            "vehicle": _known(scattered(persons, VEHICLES), has_vehicle),
        }


def _known(values: NDArray[Any], where: Flags) -> NDArray[Any]:
    return np.ma.masked_array(values, mask=~where)


def _summer(day: Whole) -> Flags:
    summer: Flags = np.any([(day >= start) & (day < end) for start, end in _SUMMER], axis=0)
    return summer


def _written(first: int, count: int) -> NDArray[np.int32]:
    """Days as whole numbers YYYYMMDD."""
    days = np.datetime64(first, "D") + np.arange(count)
    months = days.astype("datetime64[M]")
    year, month = months.astype(int) // 12 + 1970, months.astype(int) % 12 + 1
    written: NDArray[np.int32] = (10_000 * year + 100 * month + (days - months).astype(int) + 1).astype(np.int32)
    return written


_BIRTHS = _written(_BIRTHS_FROM, 53_000)
_RECORDS = _written(FIRST_DAY, DAYS)
