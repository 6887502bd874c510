"""Who has spent what, what is left and how long it lasts, from receipts and budget statements alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cordon.auditor.access import Opened
from cordon.identity import Certified
from cordon.reading.charges import LIMITS
from cordon.reading.opened import analyst_of
from cordon.units import Digest, Rho

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of the spending is asked about; None for all."""

    force: str | None = None
    domain: str | None = None
    year: int | None = None


def budgets(opened: Opened, choice: Choice) -> list[dict[str, Any]]:
    """One row for each force, domain and year that anything was charged to, or is stated for."""
    rows = [_row(opened, force, domain, year) for force, domain, year in _places(opened, choice)]
    return sorted(rows, key=lambda row: (row["force"], row["domain"], row["year"]))


def in_short(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `budgets` in as many columns as a terminal has room for."""
    used = _share(row["spent_rho"], row["period_limit_rho"])
    return {
        **{name: row[name] for name in ("force", "domain", "year")},
        "epsilon": row["spent_epsilon"],
        "of": row["period_limit_epsilon"],
        "used": used,
        "failed": row["failed_epsilon"],
        "ever": row["lifetime_epsilon"],
        "ever used": _share(row["lifetime_rho"], row["lifetime_limit_rho"]),
        "rho a day": float(row["rho_a_day"]),
        "ends": row["exhausted_on"],
    }


def _share(spent: str, limit: str | None) -> str:
    return f"{100 * float(spent) / float(limit):.0f} %" if limit is not None and float(limit) else ""


def lifetimes(opened: Opened, choice: Choice) -> list[dict[str, Any]]:
    """What each force's domains have cost together, ever: what covers a person who is in several of them."""
    epsilon = opened.members.newest.epsilon
    rows = opened.mirror.sql.execute(
        "SELECT force, count(DISTINCT domain), sum(rho) FROM receipts GROUP BY force ORDER BY force"
    )
    return [
        {"force": force, "domains": domains, "rho": str(Rho(rho)), "epsilon": epsilon(Rho(rho))}
        for force, domains, rho in rows
        if choice.force in {None, force}
    ]


def spenders(opened: Opened, choice: Choice) -> list[dict[str, Any]]:
    """What each analyst has spent for each purpose, by force, domain and year."""
    rows = opened.mirror.sql.execute(_SPENDERS, asdict(choice)).fetchall()
    names: dict[bytes, str] = {}
    found: list[dict[str, Any]] = []
    for force, domain, year, analyst, purpose, rho, charges in rows:
        if analyst not in names:
            names[analyst] = analyst_name(opened, analyst)
        row = {"force": force, "domain": domain, "year": year, "analyst": names[analyst]}
        row |= {"analyst_key_id": Digest(analyst).hex(), "purpose": purpose, "charges": charges}
        found.append(row | {"rho": str(Rho(rho)), "epsilon": opened.members.newest.epsilon(Rho(rho))})
    return found


def analyst_name(opened: Opened, key: bytes) -> str:
    """The name in the certificate of any opened query of an analyst; empty if none is opened."""
    row = opened.mirror.sql.execute(
        "SELECT queries.leaf FROM queries JOIN openings ON openings.leaf = queries.leaf WHERE analyst = ? LIMIT 1",
        (key,),
    ).fetchone()
    found: Certified | None = analyst_of(opened.mirror, opened.members, row[0]) if row is not None else None
    return found.identity.name if found is not None else ""


def _places(opened: Opened, choice: Choice) -> set[tuple[str, str, int]]:
    sql = opened.mirror.sql
    found = set(sql.execute(_PLACES, asdict(choice)))
    year = datetime.fromtimestamp(min(opened.mirror.time, 2**37), UTC).year
    for force, domain in sql.execute("SELECT DISTINCT force, domain FROM statements"):
        asked = (choice.force in {None, force}, choice.domain in {None, domain}, choice.year in {None, year})
        if all(asked):
            found.add((force, domain, year))
    return found


_PLACES = """
SELECT DISTINCT force, domain, period FROM receipts
WHERE (:force IS NULL OR force = :force) AND (:domain IS NULL OR domain = :domain)
    AND (:year IS NULL OR period = :year)
"""
_SPENDERS = """
SELECT force, domain, period, analyst, purpose, sum(receipts.rho), count(*)
FROM receipts JOIN queries ON queries.leaf = receipts.query
WHERE (:force IS NULL OR force = :force) AND (:domain IS NULL OR domain = :domain)
    AND (:year IS NULL OR period = :year)
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 6 DESC
"""


def _row(opened: Opened, force: str, domain: str, year: int) -> dict[str, Any]:
    sql = opened.mirror.sql
    spent, first = sql.execute(
        "SELECT coalesce(sum(receipts.rho), 0), min(submitted_at) FILTER (WHERE queries.leaf >= 0) FROM receipts "
        "JOIN queries ON queries.leaf = receipts.query WHERE force = ? AND domain = ? AND period = ?",
        (force, domain, year),
    ).fetchone()
    (ever,) = sql.execute(
        "SELECT coalesce(sum(rho), 0) FROM receipts WHERE force = ? AND domain = ? AND period <= ?",
        (force, domain, year),
    ).fetchone()
    (failed,) = sql.execute(
        "SELECT coalesce(sum(rho), 0) FROM failed WHERE force = ? AND domain = ? AND period = ?", (force, domain, year)
    ).fetchone()
    limits = _limits(opened, force, domain)
    a_day = _burn(spent, first, opened.mirror.time)
    epsilon = opened.members.newest.epsilon
    row: dict[str, Any] = {"force": force, "domain": domain, "year": year}
    for name, value in {"spent": spent, "failed": failed, "lifetime": ever}.items():
        row |= {f"{name}_rho": str(Rho(value)), f"{name}_epsilon": epsilon(Rho(value))}
    for name, used in (("period", spent), ("lifetime", ever)):
        limit = limits.get(f"{name}_limit")
        left = max(0, limit - used) if limit is not None else None
        row[f"{name}_limit_rho"] = str(Rho(limit)) if limit is not None else None
        row[f"{name}_limit_epsilon"] = epsilon(Rho(limit)) if limit is not None else None
        row[f"{name}_left_rho"] = str(Rho(left)) if left is not None else None
    for name in LIMITS[2:]:
        row[f"{name}_rho"] = str(Rho(limits[name])) if name in limits else None
    row["rho_a_day"] = str(Rho(int(a_day)))
    row["exhausted_on"] = _exhausted(row["period_left_rho"], a_day, opened.mirror.time, year)
    return row


def _limits(opened: Opened, force: str, domain: str) -> dict[str, int]:
    row = opened.mirror.sql.execute(
        "SELECT limits FROM statements WHERE force = ? AND domain = ? ORDER BY number DESC LIMIT 1", (force, domain)
    ).fetchone()
    return dict(zip(LIMITS, json.loads(row[0]), strict=True)) if row is not None else {}


def _burn(spent: int, first: int | None, now: int) -> float:
    """Nano-rho a day since the period's first charge; a day at least, so that the first hour does not alarm."""
    return spent / max(1.0, (now - first) / DAY) if first is not None else 0.0


def _exhausted(left: str | None, a_day: float, now: int, year: int) -> str | None:
    """The day on which the period's budget ends at this rate; None if it outlasts the period."""
    today = datetime.fromtimestamp(min(now, 2**37), UTC).date()
    if left is None or not a_day or today.year != year:
        return None
    nano = round(float(left) * 10**9)
    days = nano / a_day
    end = date(year, 12, 31)
    return (today + timedelta(days=int(days))).isoformat() if days <= (end - today).days else None
