"""The gate: whether this force takes part in a query, decided before any record is touched.

A decision follows from signatures, policy, budget and health alone; a latency or a refusal that
depended on records would answer questions for free. docs/protocol.md §4 numbers the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cordon.accounting import MARGIN
from cordon.catalogue import Catalogue
from cordon.contract import Contract
from cordon.envelope import QUERY, Envelope, commitment, key_id
from cordon.errors import Declined, Malformed, QuestionRefused, Unsupported, Untrusted
from cordon.identity import Identity, Role, verify_certificate
from cordon.manifest import Manifest
from cordon.query.model import LONGEST_LIFE_SECONDS, Query
from cordon.query.plan import Plan, make_plan
from cordon.register.leaf import DeclineCode
from cordon.register.spending import Limits, Room, Spender
from cordon.sealing.seed import open_seed, seal_context
from cordon.units import Digest
from cordon.wire.signed import open_signed, question_digest
from node.policy import Policy
from node.vintage import Vintage

NONCE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Holding:
    """A data set that this force holds."""

    contract: Contract
    domain: str
    """Budget domain of its records."""
    as_at: date
    """Date of the records, as the force has declared it."""
    max_age_days: int = 0
    """Days after `as_at` from which on the records are stale; 0 for never."""

    @classmethod
    def of(cls, contract: Contract, vintage: Vintage) -> Self:
        """What a snapshot with this label holds."""
        return cls(contract, vintage.domain, date.fromisoformat(vintage.as_at), vintage.max_age_days)


@dataclass(frozen=True, slots=True)
class State:
    """What else than the query a decision follows from: this force, at one moment."""

    holdings: Mapping[tuple[str, int], Holding]
    """What this force holds, by data set and version."""
    room: Callable[[Spender, Limits], Room]
    """What could still be charged, reservations taken off."""
    paused: bool
    """An officer has paused the node."""
    now: int
    """Seconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A query whose analyst is known; nothing else of it is checked yet."""

    query_hash: Digest
    envelope: Envelope
    query: Query
    analyst: Identity
    analyst_key_id: Digest


@dataclass(frozen=True, slots=True)
class Planned:
    """A query that passed every step that needs neither the check seed nor the budget."""

    contract: Contract
    plan: Plan
    domain: str
    limits: Limits | None
    """None where the policy has no budget for the domain."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A query that passed the gate, with everything that the later phases need of it."""

    asked: Asked
    contract: Contract
    plan: Plan
    seed: bytes
    """The check seed, opened; as secret as the query's answer until it is published."""
    spender: Spender
    limits: Limits

    @property
    def query_hash(self) -> Digest:
        """Names the query."""
        return self.asked.query_hash

    @property
    def query(self) -> Query:
        """Question and terms."""
        return self.asked.query


@dataclass(frozen=True, slots=True)
class Gate:
    """One force's gate."""

    force: str
    manifest: Manifest
    catalogue: Catalogue
    policy: Policy
    seal_key: X25519PrivateKey

    def identify(self, envelope: Envelope, certificate: bytes, now: int) -> Asked:
        """Step 1: the analyst's own signature, by a key that the federation's authority certified.

        Args:
            certificate: X.509 DER of the analyst's signing key.
            now: seconds since 1970-01-01 UTC.

        Raises:
            Declined: nobody that the federation knows has signed this as a query.
        """
        with _declining(DeclineCode.UNTRUSTED):
            analyst = verify_certificate(certificate, self.manifest.authority, roles=frozenset({Role.ANALYST}), now=now)
            query = open_signed(Query, envelope, {key_id(analyst.key): analyst.key})
        return Asked(commitment(QUERY, envelope.payload), envelope, query, analyst.identity, key_id(analyst.key))

    def examine(self, asked: Asked, state: State) -> Admission:
        """Pass a query through every further step of the gate.

        Raises:
            Declined: with the code and public text of the first step that fails.
        """
        planned = self.plan(asked.query, state, reached=lambda _: None)
        # Step 7: the check seed is the one that every force was given.
        seed = self._open_seed(asked.query, asked.analyst_key_id)
        # Step 8: the budget.
        spender, limits = self.check_budget(asked.query, planned, asked.analyst_key_id, asked.query_hash, state)
        return Admission(asked, planned.contract, planned.plan, seed, spender, limits)

    def plan(self, query: Query, state: State, *, reached: Callable[[int], None]) -> Planned:
        """Pass a query, signed or not, through the steps 2 to 6.

        Args:
            reached: told the number of each step before it is taken.

        Raises:
            Declined: with the code and public text of the first step that fails.
        """
        # In time.
        reached(2)
        self._check_times(query, state.now)
        # One federation: this manifest, this force, a listed purpose and contract.
        reached(3)
        self._check_membership(query)
        contract = self._listed_contract(query)
        # Health and holdings.
        reached(4)
        holding = self._check_holding(contract, state)
        # The plan, computed here, and the terms that must agree with it.
        reached(5)
        plan = self._plan(query, contract)
        # This force's own rules.
        reached(6)
        self.policy.check(query.question, query.terms, self.manifest)
        self.policy.check_roster(len(query.question.forces), query.question, query.terms.rho, self.manifest)
        return Planned(contract, plan, holding.domain, self.policy.limits(holding.domain, self.manifest))

    def check_budget(
        self, query: Query, planned: Planned, analyst_key_id: Digest, query_hash: Digest, state: State
    ) -> tuple[Spender, Limits]:
        """Step 8: at least one attempt's cost is left under every limit of the budget.

        Raises:
            Declined: the policy has no budget for the domain, or less is left than the query costs.
        """
        limits = planned.limits
        if limits is None:
            raise Declined(DeclineCode.BUDGET.words, f"this force has set no budget for {planned.domain}")
        spender = Spender(planned.domain, analyst_key_id, query.terms.purpose, query_hash)
        room = state.room(spender, limits)
        if room.left < query.terms.rho:
            raise Declined(DeclineCode.BUDGET.words, f"the query would cost more than is left of {room.under}")
        return spender, limits

    def _check_holding(self, contract: Contract, state: State) -> Holding:
        if state.paused:
            raise Declined(DeclineCode.PAUSED.words, "this force has paused its node")
        holding = state.holdings.get((contract.dataset, contract.version))
        if holding is None:
            raise Declined(
                DeclineCode.NOT_HELD.words, f"this force does not hold {contract.dataset} v{contract.version}"
            )
        self.policy.check_age(holding.as_at, state.now)
        _check_age(holding, state.now)
        return holding

    def _check_times(self, query: Query, now: int) -> None:
        terms, tolerance = query.terms, self.manifest.timing.clock_tolerance_seconds
        if terms.expires + tolerance <= now:
            raise Declined(DeclineCode.EXPIRED.words, "the query has expired")
        if terms.decide_by > terms.expires or terms.expires > now + LONGEST_LIFE_SECONDS:
            raise Declined(DeclineCode.QUESTION.words, "the query's decide-by time or expiry lies too far ahead")

    def _check_membership(self, query: Query) -> None:
        if query.terms.manifest_version != self.manifest.version:
            raise Declined(
                DeclineCode.MANIFEST.words,
                f"the query names manifest version {query.terms.manifest_version}, "
                f"this force has accepted version {self.manifest.version}",
            )
        members = self.manifest.by_id
        if self.force not in query.question.forces or any(force not in members for force in query.question.forces):
            raise Declined(
                DeclineCode.QUESTION.words, "the query does not name this force, or names one that is no member"
            )
        if query.terms.purpose not in self.manifest.by_purpose:
            raise Declined(DeclineCode.QUESTION.words, "the manifest does not list the query's purpose")

    def _listed_contract(self, query: Query) -> Contract:
        found = self.catalogue.get((query.question.dataset, query.question.contract_version))
        if found is None:
            raise Declined(DeclineCode.UNSUPPORTED.words, "the manifest does not list the query's data set")
        return found[0]

    def _plan(self, query: Query, contract: Contract) -> Plan:
        terms, limits = query.terms, self.manifest.limits
        if not 1 <= terms.attempts <= limits.attempts or terms.rho * terms.attempts > self.manifest.most_rho:
            raise Declined(
                DeclineCode.QUESTION.words,
                f"the federation allows epsilon {float(limits.epsilon):g} per query, "
                f"over at most {limits.attempts} attempts",
            )
        if sum(rho.nano for rho in terms.block_rho) + MARGIN.nano != terms.rho.nano:
            raise Declined(DeclineCode.QUESTION.words, "the blocks' shares do not add up to the signed rho")
        if len(terms.nonce) != NONCE_BYTES:
            raise Declined(DeclineCode.QUESTION.words, "the query's nonce must have 32 bytes")
        with _declining(DeclineCode.QUESTION):
            plan = make_plan(
                query.question,
                terms.block_rho,
                contract,
                colluders=self.manifest.colluders,
                most_cells=limits.cells,
            )
        if plan.parameters.name != terms.parameter_set:
            raise Declined(DeclineCode.QUESTION.words, f"this question takes the parameter set {plan.parameters.name}")
        return plan

    def _open_seed(self, query: Query, analyst_key_id: Digest) -> bytes:
        terms = query.terms
        sealed = terms.sealed_seeds[query.question.forces.index(self.force)].sealed
        context = seal_context(
            force=self.force,
            analyst_key_id=analyst_key_id,
            question=question_digest(query.question),
            nonce=terms.nonce,
            bfv_key_hash=terms.bfv_key_hash,
            seed=terms.seed_hash,
        )
        with _declining(DeclineCode.UNTRUSTED):
            return open_seed(sealed, self.seal_key, context, signed_hash=terms.seed_hash)


def _check_age(holding: Holding, now: int) -> None:
    age = (datetime.fromtimestamp(now, UTC).date() - holding.as_at).days
    if holding.max_age_days and age > holding.max_age_days:
        text = (
            f"this force's records are of {holding.as_at}, and it declares them stale after {holding.max_age_days} days"
        )
        raise Declined(DeclineCode.STALE.words, text)


@contextmanager
def _declining(code: DeclineCode) -> Iterator[None]:
    try:
        yield
    except Unsupported as error:
        raise Declined(DeclineCode.UNSUPPORTED.words, str(error)) from None
    except (Untrusted, Malformed, QuestionRefused) as error:
        raise Declined(code.words, str(error)) from None
