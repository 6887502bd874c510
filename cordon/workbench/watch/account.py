"""What a watch has spent: entries that only grow, and their sum. Pure.

A release is written down before it is asked, at all of its attempts; the attempts that were really charged are
written down after it. What is not known to be less stands at what was reserved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from cordon.errors import Refused
from cordon.units import Rho
from cordon.workbench.watch.saved import Against, Hex32, Kept, Nano, Saved, Seconds, Text
from cordon.workbench.watch.schedule import year_before

Year = Annotated[int, Field(ge=1970, lt=7000)]
Number = Annotated[int, Field(ge=1, lt=10**6)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


class Entry(Kept):
    """What every entry has."""

    watch: Hex32
    """Digest of the watch's saved question: entries of another watch, or of one that was removed, do not count."""
    number: Number
    previous: Hex32
    """Digest of the entry before; of the first the watch's own."""
    at: Seconds
    """By the analyst's clock."""


class Reserved(Entry):
    """A release is about to be asked."""

    kind: Literal["reserved"] = "reserved"
    slot: Day
    period: Year
    """Calendar year whose budget it is taken from."""
    nano: Nano
    """All of its attempts."""
    declared: dict[Text, tuple[Text, Text, Text]]
    """By force: contract digest, date as at and load id that it declared before it was asked."""


class Settled(Entry):
    """What became of a release."""

    kind: Literal["settled"] = "settled"
    release: Number
    """Number of the entry that reserved it."""
    query: Hex32 | None
    """None where none was sent, or none is known."""
    nano: Nano
    """Charged to each force."""
    answered: bool
    answer: Hex32 | None = None
    """SHA-256 of the answer as it was kept, so that one that was changed since is not compared with."""


class Found(Entry):
    """An own query that asks the watch's question at its cost, and that no entry names."""

    kind: Literal["found"] = "found"
    query: Hex32
    period: Year
    nano: Nano


class Compared(Entry):
    """A release was compared, and its alerts lie in the outbox."""

    kind: Literal["compared"] = "compared"
    release: Number
    alerts: tuple[Hex32, ...]


AnyKind = type[Reserved] | type[Settled] | type[Found] | type[Compared]
AnyEntry = Annotated[Reserved | Settled | Found | Compared, Field(discriminator="kind")]
ENTRIES: TypeAdapter[Reserved | Settled | Found | Compared] = TypeAdapter(AnyEntry)


@dataclass(frozen=True, slots=True)
class Release:
    """One release, as far as it has come."""

    number: int
    slot: date
    period: int
    declared: dict[str, tuple[str, str, str]]
    nano: int
    """What it counts for."""
    at: int
    query: str | None = None
    answer: str | None = None
    """Digest of its answer as it was kept."""
    answered: bool = False
    settled: bool = False
    compared: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """A watch's entries, added up."""

    releases: tuple[Release, ...] = ()
    """Oldest first."""
    found: tuple[Found, ...] = ()
    entries: int = 0

    @classmethod
    def of(cls, entries: Iterable[Reserved | Settled | Found | Compared]) -> Account:
        """Add entries up, in their order.

        Raises:
            Refused: one speaks of a release that none has reserved.
        """
        releases: dict[int, Release] = {}
        found: list[Found] = []
        count = 0
        for entry in entries:
            count += 1
            if isinstance(entry, Found):
                found.append(entry)
            elif isinstance(entry, Reserved):
                releases[entry.number] = _begun(entry)
            else:
                releases[entry.release] = _moved(releases.get(entry.release), entry)
        return cls(tuple(releases.values()), tuple(found), count)

    @property
    def counted(self) -> tuple[Release | Found, ...]:
        """Everything that counts against a year's budget."""
        return (*self.releases, *self.found)

    @property
    def period(self) -> int:
        """Newest year that anything was written down for; 0 before the first entry."""
        return max((item.period for item in self.counted), default=0)

    def spent(self, period: int) -> Rho:
        """Written down for a year."""
        return Rho(sum(item.nano for item in self.counted if item.period == period))

    @property
    def open(self) -> Release | None:
        """The release of which it is not known yet what became of it."""
        return next((release for release in self.releases if not release.settled), None)

    @property
    def answered(self) -> tuple[Release, ...]:
        """Releases with an answer, oldest first."""
        return tuple(release for release in self.releases if release.answered)

    @property
    def queries(self) -> frozenset[str]:
        """Every query that is written down."""
        return frozenset(item.query for item in self.counted if item.query is not None)

    @property
    def newest_slot(self) -> date | None:
        """The newest slot that a query was sent in: no other is sent in it, whatever became of that one."""
        return max((release.slot for release in self.releases if release.query is not None), default=None)

    def earlier(self, release: Release, saved: Saved) -> Release | None:
        """The answered release that one is compared with; None where there is none."""
        others = [other for other in self.answered if other.number < release.number]
        if saved.against is Against.YEAR_BEFORE:
            wanted = year_before(saved.every, release.slot)
            others = [other for other in others if other.slot == wanted]
        return others[-1] if others else None

    def check_room(self, saved: Saved, period: int) -> None:
        """Check that the year's budget covers a release with all its attempts.

        Raises:
            BudgetEnded: it does not.
        """
        spent = self.spent(period)
        if spent.nano + saved.most.nano > saved.budget.nano:
            raise BudgetEnded(saved, period, spent)


class BudgetEnded(Refused):
    """What was set aside for a year does not cover the next release.

    Attributes:
        period: the year.
    """

    def __init__(self, saved: Saved, period: int, spent: Rho) -> None:
        self.period = period
        left = max(0, saved.budget.nano - spent.nano)
        super().__init__(
            f"the budget that watch {saved.name!r} has for {period} does not cover another release: of rho "
            f"{saved.budget} rho {spent} is written down, rho {Rho(left)} is left, and a release can cost rho "
            f"{saved.most}",
            hint="it goes on when the year ends; nothing was asked",
        )


def _begun(entry: Reserved) -> Release:
    return Release(
        entry.number, date.fromisoformat(entry.slot), entry.period, dict(entry.declared), entry.nano, entry.at
    )


def _moved(release: Release | None, entry: Settled | Compared) -> Release:
    if release is None:
        raise Refused(f"entry {entry.number} speaks of a release that is not there")
    fields = {name: getattr(release, name) for name in Release.__slots__}
    if isinstance(entry, Compared):
        return Release(**(fields | {"compared": True}))
    # A settlement can lower what a release counts for, and never raise it: it was reserved at the most.
    settled = {
        "query": entry.query, "nano": entry.nano, "answered": entry.answered, "settled": True, "answer": entry.answer,
    }  # fmt: skip
    return Release(**(fields | settled))
