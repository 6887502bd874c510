"""The queries that wait for an officer, with what an officer needs to decide about them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from cordon.errors import CordonError
from cordon.manifest import Purpose
from cordon.query.model import Query
from cordon.query.words import describe
from cordon.units import Digest, Rho
from cordon.wire.messages import Verdict
from cordon.wire.signed import peek
from node.approvals import Desk, approvals_folder, read_envelope
from node.history import moment
from node.office import Office


@dataclass(frozen=True, slots=True)
class Waiting:
    """One query that waits."""

    query_hash: Digest
    analyst: str
    query: Query
    purpose: Purpose | None
    epsilon: float
    """Over all attempts."""
    share: float | None
    """That cost as a share of what is left of the year's rho; None where there is no budget."""
    approved_by: tuple[str, ...]
    needed: int

    def facts(self) -> dict[str, object]:
        """For JSON, and for a screen."""
        terms = self.query.terms
        share = (
            "there is no budget for it" if self.share is None else f"{100 * self.share:.3g} % of what is left this year"
        )
        return {
            "query": self.query_hash.hex(),
            "analyst": self.analyst,
            "purpose": f"{terms.purpose} ({self.purpose.title})" if self.purpose else terms.purpose,
            "legal_basis": self.purpose.basis if self.purpose else "",
            "question": describe(self.query.question),
            "epsilon": f"{self.epsilon:.4g} over {terms.attempts} attempts",
            "budget": share,
            "signed_by": [*self.approved_by, f"{len(self.approved_by)} of {self.needed} needed"],
            "decide_by": moment(terms.decide_by),
        }


def waiting(office: Office, now: int) -> list[Waiting]:
    """Every query that an officer can still decide about, the first asked first.

    Raises:
        Misconfigured: a file of the node is missing, truncated or wrong.
    """
    left = _left_of_year(office, now)
    desk = Desk.of(office.settings, office.policy, office.manifest, office.ledger)
    approved = _approved(desk, office, now)
    found = []
    for row in office.ledger.history():
        query = peek(Query, row.envelope)
        terms, question = query.terms, query.question
        if row.outcome != "AWAITING_APPROVAL" or min(terms.decide_by, terms.expires) <= now:
            continue
        cost = terms.rho * terms.attempts
        room = left.get((question.dataset, question.contract_version))
        found.append(
            Waiting(
                query_hash=row.query_hash,
                analyst=row.analyst,
                query=query,
                purpose=office.manifest.by_purpose.get(terms.purpose),
                epsilon=office.manifest.epsilon(cost),
                share=cost.nano / room.nano if room is not None and room.nano else None,
                approved_by=tuple(approved.get(row.query_hash, ())),
                needed=office.policy.officers_needed,
            )
        )
    return found


def _left_of_year(office: Office, now: int) -> dict[tuple[str, int], Rho]:
    """What is left of the year's rho, by data set and version."""
    # Brings the machinery of contributions with it, which other commands do without.
    from node.contribute import period_of  # noqa: PLC0415

    spending = office.spending()
    left = {}
    for name, holding in office.holdings().items():
        limits = office.policy.limits(holding.domain, office.manifest)
        if limits is not None:
            period = max(period_of(now), spending.period(holding.domain))
            spent = spending.in_period(holding.domain, period)
            left[name] = Rho(max(0, limits.period.nano - spent.nano))
    return left


def _approved(desk: Desk, office: Office, now: int) -> dict[Digest, list[str]]:
    """Names of the officers who have approved, also by files that the node has not taken up yet."""
    given = {query_hash: list(items) for query_hash, items in desk.given(now).items()}
    for path in sorted(approvals_folder(office.settings.state).glob("*.json")):
        with suppress(CordonError):
            item = desk.checked(read_envelope(path), now)
            given.setdefault(item.approval.query_hash, []).append(item)
    return {
        query_hash: sorted({item.officer.name for item in items if item.approval.verdict is Verdict.APPROVE})
        for query_hash, items in given.items()
    }
