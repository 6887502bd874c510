"""The plain file behind nominals v1: persons of one force, how often it meets them, and whom its neighbour knows."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 20_240_101
PERSONS = 2_000
SHARED = 50
"""Persons of a force that its neighbour in the list knows too, under the same identifier."""

MOST_ROWS = 8
"""Rows of the most prolific person, above any contract's bound."""

WITHOUT_PERSON = 25
"""Rows of each force that name nobody."""

FIELDS = ("person_ref", "phone", "vrm", "recorded", "age", "loss", "role", "sex", "offence")
_ROLES = ("SUS", "VIC", "MIS", "WIT", "")
_SEXES = ("M", "F", "X", "")
_OFFENCES = ("burglary", "fraud", "robbery", "theft", "vehicle_crime", "violence", "none")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one force's made-up records before any bound."""

    rows: int
    persons: int
    shared_with_next: tuple[str, ...]
    """Persons that the next force of the list knows too."""


def write_nominals(path: Path, *, number: int, forces: int, persons: int = PERSONS, seed: int = SEED) -> Facts:
    """Write one force's records as CSV.

    Args:
        number: the force's place in the list, from 0.
        forces: length of the list; the last force shares persons with the first.
        persons: persons that the force knows.
    """
    shared = min(SHARED, persons // 4)
    own = [f"P{number:02d}-{at:05d}" for at in range(persons - shared)]
    to_next = own[:shared]
    from_before = [f"P{(number - 1) % forces:02d}-{at:05d}" for at in range(shared)] if forces > 1 else []
    known = own + from_before
    generator = np.random.default_rng([seed, number])
    rows_of = np.minimum(generator.geometric(0.45, len(known)), MOST_ROWS)
    rows_of[:3] = MOST_ROWS
    people = [person for person, count in zip(known, rows_of, strict=True) for _ in range(count)]
    people += [""] * WITHOUT_PERSON
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows(_rows(people, generator))
    return Facts(len(people), len(known), tuple(to_next))


def _rows(people: list[str], generator: np.random.Generator) -> list[tuple[str, ...]]:
    count = len(people)
    days = np.datetime64("2024-01-01") + generator.integers(0, 366, count)
    ages = np.clip(generator.normal(34, 15, count), 0, 120).astype(int)
    losses = np.where(generator.random(count) < 0.6, generator.gamma(1.2, 600, count), 0.0)
    roles = generator.choice(_ROLES, count, p=(0.4, 0.35, 0.1, 0.12, 0.03))
    sexes = generator.choice(_SEXES, count, p=(0.6, 0.35, 0.01, 0.04))
    offences = generator.choice(_OFFENCES, count)
    phones = generator.integers(0, count, count)
    return [
        (
            person,
            f"07700 {phone:06d}",
            f"XX{phone % 99:02d} {offence[:3].upper()}",
            str(day),
            str(age),
            f"{loss:.2f}",
            role,
            sex,
            offence,
        )
        for person, phone, day, age, loss, role, sex, offence in zip(
            people, phones, days, ages, losses, roles, sexes, offences, strict=True
        )
    ]
