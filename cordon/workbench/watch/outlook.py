"""What a year of a watch takes of each force's budgets, by the analyst's copy of the register. Asks nobody."""

from __future__ import annotations

from dataclasses import dataclass

from cordon.analyst.known import open_library
from cordon.analyst.library import Library
from cordon.analyst.times import utc
from cordon.query.statement import Statement
from cordon.register.leaf import NO_DIGEST
from cordon.register.spending import Limits, Spender, Spending
from cordon.workbench.session import Session
from cordon.workbench.watch.saved import Saved


@dataclass(frozen=True, slots=True)
class AtForce:
    """What a year of a watch takes of one force's budget."""

    force: str
    share: float | None
    """Of the year's budget, by all releases at one attempt each; None where no statement of the force was read."""
    most_share: float | None
    """At all attempts."""
    declines_at: int | None
    """Number of the first release that the force would decline, if nobody asked anything else; None for none."""
    why: str = ""


def at_forces(saved: Saved, statement: Statement, session: Session) -> tuple[AtForce, ...]:
    """What a year takes at each force that is asked, as far as its budget statement was read."""
    question = statement.question
    with open_library(session.client) as library:
        if not library.size:
            return tuple(AtForce(force, None, None, None, _UNREAD) for force in question.forces)
        domains = library.domains(question.dataset, question.contract_version)
        known = _Known(library, domains, session)
        return tuple(known.at(force, saved) for force in question.forces)


_UNREAD = "not known: the register was not read here yet"
_UNSTATED = "not known: no budget statement for these records was read"


class _Known:
    """What the analyst's copy of the register says of budgets."""

    def __init__(self, library: Library, domains: dict[str, str], session: Session) -> None:
        self._statements, self._spending, self._domains = library.statements(), library.spending(), domains
        self._year, self._analyst = utc(library.time).year, session.client.signer.key_id

    def at(self, force: str, saved: Saved) -> AtForce:
        stated = [domain for name, domain in self._statements if name == force]
        domain = self._domains.get(force) or (stated[0] if len(stated) == 1 else None)
        limits = self._statements.get((force, domain or ""), [])
        if domain is None or not limits:
            return AtForce(force, None, None, None, _UNSTATED)
        newest = limits[-1][1]
        releases, whole = saved.every.most_a_year, max(1, newest.period.nano)
        declines_at, why = self._declines(force, domain, newest, saved)
        return AtForce(
            force,
            saved.nano_rho * releases / whole,
            saved.most.nano * releases / whole,
            declines_at if declines_at is not None and declines_at <= releases else None,
            why if declines_at is not None and declines_at <= releases else "",
        )

    def _declines(self, force: str, domain: str, limits: Limits, saved: Saved) -> tuple[int | None, str]:
        spending = self._spending.get(force, Spending())
        year = max(spending.period(domain), self._year)
        spender = Spender(domain, self._analyst, saved.purpose, NO_DIGEST)
        if limits.query < saved.most:
            return 1, "it would cost more than the force allows one query"
        # The limit of one query does not add up over releases.
        over_year = Limits(
            limits.period, limits.lifetime, limits.analyst, limits.purpose, limits.lifetime, limits.failed
        )
        room = spending.room(spender, year, over_year)
        # A force reserves all attempts of a query, and charges those that were made.
        covered = 0 if room.left < saved.most else 1 + (room.left.nano - saved.most.nano) // saved.nano_rho
        return covered + 1, f"it would cost more than is left of {room.under}"
