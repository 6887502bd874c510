"""Which vintage of its records each force declared: what an answer is about, and when it may stand for another."""

from __future__ import annotations

from collections.abc import Iterable

from cordon.analyst.federation import Federation
from cordon.contract import Contract

Vintages = dict[str, dict[str, str]]
"""By force: contract digest, date as at, first and last month, and the snapshot's load id."""


def declared(federation: Federation, contract: Contract, forces: Iterable[str]) -> Vintages:
    """What connected forces have said, signed, that they hold of a contract."""
    found: Vintages = {}
    for force in sorted(forces):
        for held in federation.holdings.get(force, ()):
            if held.digest == contract.digest:
                found[force] = {
                    "contract": held.digest.hex(),
                    "as_at": held.as_at,
                    "first_month": held.first_month,
                    "last_month": held.last_month,
                    "load_id": held.load_id.hex(),
                }
    return found


def agreed(first: Vintages, second: Vintages) -> Vintages:
    """The forces that declared the same both times: of the others nobody can say which records answered."""
    return {force: vintage for force, vintage in first.items() if second.get(force) == vintage}


def same(answer: Vintages, now: Vintages, answered: Iterable[str]) -> bool:
    """Whether every force of an answer declares now what it declared then; the months only describe it."""
    return all(
        force in answer
        and force in now
        and all(answer[force].get(part) == now[force][part] for part in ("contract", "as_at", "load_id"))
        for force in answered
    )
