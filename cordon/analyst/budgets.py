"""What an answer took, and what a question would leave, of each force's budgets; from receipts and statements alone.

Pure. A force decides by its own ledger, which may be ahead of the register that was read: what stands
here is what the register says, and how old it is. docs/privacy.md §5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cordon.analyst.compose import Cost
from cordon.analyst.times import utc
from cordon.manifest import Manifest
from cordon.register.leaf import NO_DIGEST
from cordon.register.spending import Limits, Spender, Spending
from cordon.units import NANO, Digest, Rho

Statements = dict[tuple[str, str], list[tuple[int, Limits]]]
"""By force and budget domain: the receipt after which limits hold, and the limits; oldest first."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was read of the register about budgets."""

    statements: Statements
    spending: dict[str, Spending]
    domains: dict[str, str]
    """The budget domain of the data set at each force, where an earlier question shows it."""
    time: int
    """Seconds since 1970-01-01 UTC."""


def shares(answer: dict[str, Any], statements: Statements) -> dict[str, Any]:
    """Which share of its forces' budgets an answer took: the largest and the smallest.

    Args:
        answer: from `OpenedAnswer.as_dict`.

    Returns:
        `year` and `lifetime`, each None or with `largest` and `smallest`; `unknown` names forces whose
        statement was not read.
    """
    cost = _nano(answer["rho"]) * answer["attempts_charged"]
    year: list[tuple[Fraction, str]] = []
    lifetime: list[tuple[Fraction, str]] = []
    unknown: list[str] = []
    for charge in answer["charged"]:
        force = charge["force"]
        limits = _in_force(statements.get((force, charge["domain"]), []), charge["receipt"])
        if limits is None:
            unknown.append(force)
            continue
        year.append((_share(cost, limits.period), force))
        lifetime.append((_share(cost, limits.lifetime), force))
    return {"year": _extremes(year), "lifetime": _extremes(lifetime), "unknown": unknown}


def share_line(found: dict[str, Any] | None) -> str:
    """`shares` in a sentence; empty where nothing is known."""
    if found is None:
        return ""
    parts = [
        f"{_range(found[key])} of {words}"
        for key, words in (("year", "the year's budget"), ("lifetime", "the lifetime budget"))
        if found[key] is not None
    ]
    if not parts:
        return ""
    unknown = len(found["unknown"])
    return f"it took {' and '.join(parts)}" + (f"; not known of {unknown} forces" if unknown else "")


def outlook(
    forces: Iterable[str], cost: Cost, analyst: Digest, purpose: str | None, known: Known, manifest: Manifest
) -> list[dict[str, Any]]:
    """What a question would leave at each force, and which would decline it for its budget.

    Args:
        analyst: key id of who would ask.
        purpose: what for; None leaves the limit of a purpose out.
    """
    return [_of_force(force, cost, analyst, purpose, known, manifest) for force in forces]


def _of_force(
    force: str, cost: Cost, analyst: Digest, purpose: str | None, known: Known, manifest: Manifest
) -> dict[str, Any]:
    domain = _domain(force, known)
    stated = known.statements.get((force, domain), []) if domain is not None else []
    row: dict[str, Any] = {
        "force": force,
        "domain": domain,
        "declines": None,
        "why": "",
        "year": None,
        "lifetime": None,
    }
    if domain is None or not stated:
        row["why"] = "not known: no budget statement for these records was read"
        return row
    limits, spending = stated[-1][1], known.spending.get(force, Spending())
    year = max(spending.period(domain), utc(known.time).year)
    if purpose is None:
        limits = replace(limits, purpose=limits.period)
    room = spending.room(Spender(domain, analyst, purpose or "", NO_DIGEST), year, limits)
    row["declines"] = room.left < cost.rho
    if row["declines"]:
        row["why"] = f"the query would cost more than is left of {room.under}"
    for key, limit, spent in (
        ("year", limits.period, spending.in_period(domain, year)),
        ("lifetime", limits.lifetime, spending.lifetime(domain)),
    ):
        left = Rho(max(0, limit.nano - spent.nano - (0 if row["declines"] else cost.rho.nano)))
        row[key] = {
            "left_rho": str(left),
            "left_epsilon": manifest.epsilon(left) if left.nano else 0.0,
            "left_share": float(_share(left.nano, limit)),
        }
    return row


def _domain(force: str, known: Known) -> str | None:
    stated = [domain for name, domain in known.statements if name == force]
    return known.domains.get(force) or (stated[0] if len(stated) == 1 else None)


def _in_force(stated: list[tuple[int, Limits]], receipt: int) -> Limits | None:
    """The newest limits that were stated before a receipt."""
    found = [limits for after, limits in stated if after < receipt]
    return found[-1] if found else None


def _share(part: int, whole: Rho) -> Fraction:
    return Fraction(part, whole.nano) if whole.nano else Fraction(1)


def _extremes(found: list[tuple[Fraction, str]]) -> dict[str, Any] | None:
    if not found:
        return None
    (least, at_least), (most, at_most) = min(found), max(found)
    return {
        "smallest": {"force": at_least, "share": float(least)},
        "largest": {"force": at_most, "share": float(most)},
    }


def _range(found: dict[str, Any]) -> str:
    low, high = found["smallest"]["share"], found["largest"]["share"]
    if f"{low:.2%}" == f"{high:.2%}":
        return _percent(high)
    return f"{_percent(low)} ({found['smallest']['force']}) to {_percent(high)} ({found['largest']['force']})"


def _percent(share: float) -> str:
    """Three digits, and never an exponent."""
    return f"{Decimal(f'{100 * share:.3g}'):f} %"


def _nano(text: str) -> int:
    return int(Fraction(text) * NANO)
