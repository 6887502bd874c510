"""What budget domains have spent, added up from receipts alone: the same sums at a node and at an auditor.

Pure. A force keeps one of these beside its ledger and an auditor one for each force, and both come to
the same numbers or one of them is wrong. docs/privacy.md §5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from cordon.register.leaf import BudgetStatement, Receipt
from cordon.units import Digest, Rho


@dataclass(frozen=True, slots=True)
class Limits:
    """What one budget domain may spend."""

    period: Rho
    """In a calendar year."""
    lifetime: Rho
    analyst: Rho
    """Of one analyst in a year."""
    purpose: Rho
    """For one purpose in a year."""
    query: Rho
    """Of one query, over all its attempts."""
    failed: Rho
    """On failed attempts in a year; beyond it the force takes part in no further attempt."""

    @classmethod
    def stated(cls, statement: BudgetStatement) -> Limits:
        """The limits of a budget statement."""
        return cls(
            period=statement.period_limit,
            lifetime=statement.lifetime_limit,
            analyst=statement.analyst_limit,
            purpose=statement.purpose_limit,
            query=statement.query_limit,
            failed=statement.failed_limit,
        )


@dataclass(frozen=True, slots=True)
class Spender:
    """Who spends on what: every name that a limit is kept under."""

    domain: str
    analyst: Digest
    """Key id of the analyst."""
    purpose: str
    query: Digest


@dataclass(frozen=True, slots=True)
class Room:
    """What is left under the tightest limit, and which one that is."""

    left: Rho
    under: str


class Spending:
    """Sums over one force's receipts, in nano-rho."""

    def __init__(self) -> None:
        """Nothing is spent yet."""
        self._sums: Counter[tuple[object, ...]] = Counter()
        self._period: dict[str, int] = {}

    def add(self, receipt: Receipt) -> None:
        """Count a receipt in."""
        spender = Spender(receipt.domain, receipt.analyst_key_id, receipt.purpose, receipt.query_hash)
        for name in _names(spender, receipt.period):
            self._sums[name] += receipt.rho.nano
        self._period[receipt.domain] = max(receipt.period, self._period.get(receipt.domain, 0))

    def add_failed(self, domain: str, period: int, rho: Rho) -> None:
        """Count a charge of an attempt that failed, which `add` has counted or will count too."""
        self._sums["failed", domain, period] += rho.nano

    def period(self, domain: str) -> int:
        """Newest period that anything was charged to; 0 before the first charge."""
        return self._period.get(domain, 0)

    def in_period(self, domain: str, period: int) -> Rho:
        """Charged to a domain in a period."""
        return Rho(self._sums["period", domain, period])

    def lifetime(self, domain: str) -> Rho:
        """Charged to a domain, ever."""
        return Rho(self._sums["lifetime", domain])

    def failed(self, domain: str, period: int) -> Rho:
        """Charged to a domain in a period for attempts that failed."""
        return Rho(self._sums["failed", domain, period])

    def by_analyst(self, domain: str, period: int) -> dict[Digest, Rho]:
        """Charged to a domain in a period, by the analyst's key id."""
        return {Digest(name): rho for name, rho in self._by("analyst", domain, period)}  # type: ignore[arg-type]

    def by_purpose(self, domain: str, period: int) -> dict[str, Rho]:
        """Charged to a domain in a period, by purpose."""
        return {str(name): rho for name, rho in self._by("purpose", domain, period)}

    @property
    def domains(self) -> tuple[str, ...]:
        """Every domain that was ever charged, sorted."""
        return tuple(sorted(self._period))

    def room(self, spender: Spender, period: int, limits: Limits, held: Iterable[tuple[Spender, Rho]] = ()) -> Room:
        """What a spender could still be charged.

        Args:
            held: what is reserved and not charged yet, and for whom.
        """
        bounds = (limits.period, limits.lifetime, limits.analyst, limits.purpose, limits.query)
        reserved: Counter[tuple[object, ...]] = Counter()
        for other, rho in held:
            reserved.update(dict.fromkeys(_names(other, period), rho.nano))
        rooms = [
            Room(Rho(max(0, bound.nano - self._sums[name] - reserved[name])), words)
            for words, bound, name in zip(_WORDS, bounds, _names(spender, period), strict=True)
        ]
        return min(rooms, key=lambda room: room.left)

    def _by(self, kind: str, domain: str, period: int) -> list[tuple[object, Rho]]:
        wanted = (kind, domain, period)
        return [(name[3], Rho(nano)) for name, nano in self._sums.items() if nano and name[:3] == wanted]


_WORDS = (
    "this year's budget",
    "the lifetime budget",
    "what one analyst may spend in a year",
    "what one purpose may spend in a year",
    "what one query may spend",
)


def _names(spender: Spender, period: int) -> tuple[tuple[object, ...], ...]:
    domain = spender.domain
    return (
        ("period", domain, period),
        ("lifetime", domain),
        ("analyst", domain, period, spender.analyst),
        ("purpose", domain, period, spender.purpose),
        ("query", domain, spender.query),
    )
