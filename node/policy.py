"""A force's own rules. Each has a public text; the federation cannot override one. docs/policy.md lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AfterValidator, Field, model_validator

from cordon.accounting import rho_for_epsilon
from cordon.configfile import ConfigModel
from cordon.contract import FORCE
from cordon.envelope import key_id
from cordon.errors import Declined
from cordon.manifest import Manifest, PublicKey
from cordon.query.model import Question, Terms
from cordon.register.leaf import DeclineCode
from cordon.register.spending import Limits
from cordon.units import Digest, Name, Positive, Rho


class Forbidden(Declined):
    """A rule of the policy declines a query.

    Attributes:
        rule: the policy's key, e.g. `closed_columns`.
    """

    def __init__(self, rule: str, text: str, code: DeclineCode = DeclineCode.POLICY) -> None:
        self.rule = rule
        super().__init__(code.words, text)


@dataclass(frozen=True, slots=True)
class ByHand:
    """A rule of the policy leaves a query to a person."""

    rule: str
    """The policy's key."""
    text: str
    """In public words."""


def _at_most_one(value: Fraction) -> Fraction:
    if value > 1:
        raise ValueError(f"is a share of the year's budget, at most 1, got {value}")
    return value


class Budget(ConfigModel):
    """What one budget domain may spend, at the federation's delta."""

    epsilon_per_year: Positive
    epsilon_lifetime: Positive

    epsilon_per_analyst: Positive | None = None
    """Of one analyst in a year; the year's where not given."""

    epsilon_per_purpose: Positive | None = None
    """For one purpose in a year; the year's where not given."""

    epsilon_per_query: Positive | None = None
    """Of one query over all its attempts; the year's where not given."""

    failed_share: Annotated[Positive, AfterValidator(_at_most_one)] = Fraction(1, 5)
    """Share of the year's rho that failed attempts may use up."""

    def limits(self, delta: float) -> Limits:
        """The budget in rho, at a delta."""
        year = self.epsilon_per_year
        period = rho_for_epsilon(year, delta)
        return Limits(
            period=period,
            lifetime=rho_for_epsilon(self.epsilon_lifetime, delta),
            analyst=rho_for_epsilon(self.epsilon_per_analyst or year, delta),
            purpose=rho_for_epsilon(self.epsilon_per_purpose or year, delta),
            query=rho_for_epsilon(self.epsilon_per_query or year, delta),
            failed=Rho(int(period.nano * self.failed_share)),
        )


class Officer(ConfigModel):
    """Somebody who decides about queries that wait, and may pause the node."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    key: PublicKey
    """Ed25519 public key; the private half stays with the officer."""

    @property
    def public(self) -> Ed25519PublicKey:
        """The key, to verify with."""
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))

    @property
    def key_id(self) -> Digest:
        """SHA-256 of the raw public key."""
        return key_id(self.public)


class Policy(ConfigModel):
    """What this force answers. Read once at start-up."""

    datasets: tuple[Name, ...] = ()
    """Data sets that may be asked about; empty for all that are held."""

    purposes: tuple[Name, ...] = ()
    """Purposes that may be asked for; empty for all that the manifest lists."""

    closed_columns: tuple[Name, ...] = ()
    """Columns that may be neither grouped by, filtered by nor summed. `force` closes the force's own line and
    every question that names fewer than all forces."""

    allow_by_force: bool = True
    """Whether the force's own line may be asked for."""

    allow_small_roster: bool = False
    """Whether rosters of 3 to c+1 forces are taken part in; masks may not hold there."""

    smallest_roster: Annotated[int, Field(ge=3)] | None = None
    """Fewest forces of a roster, where more than the manifest's c+2 are wanted."""

    oldest_snapshot_days: Annotated[int, Field(ge=1)] | None = None
    """How old the declared date of the records may be."""

    approval: Literal["automatic", "manual"] = "automatic"
    """`manual`: a person decides about every query."""

    approval_datasets: tuple[Name, ...] = ()
    """Data sets that a person decides about."""

    approval_purposes: tuple[Name, ...] = ()
    """Purposes that a person decides about."""

    officers_needed: Literal[1, 2] = 1
    """How many different officers must approve."""

    most_epsilon_per_attempt: Positive | None = None
    most_epsilon_alone: Positive | None = None
    """Cap on what protects the force's records if every other party colludes (`max_rho_local`)."""

    budget: Annotated[dict[Name, Budget], Field(min_length=1)]
    """By budget domain: the force's source records, as named in its mappings."""

    officers: Annotated[tuple[Officer, ...], Field(alias="officer")] = ()

    @model_validator(mode="after")
    def _can_be_followed(self) -> Self:
        names = {officer.name.casefold() for officer in self.officers}
        keys = {officer.key for officer in self.officers}
        if min(len(names), len(keys)) < len(self.officers):
            raise ValueError("two officers share a name or a key")
        if self.by_hand and len(self.officers) < self.officers_needed:
            raise ValueError(
                f"a person is to decide, which takes {self.officers_needed} [[officer]], and {len(self.officers)} "
                "are listed: such a query would wait for ever"
            )
        if self.allow_small_roster and self.smallest_roster is not None:
            raise ValueError("allow_small_roster and smallest_roster contradict each other: give one of them")
        return self

    @property
    def by_hand(self) -> bool:
        """Whether a person decides about any query at all."""
        return self.approval == "manual" or bool(self.approval_datasets or self.approval_purposes)

    @property
    def by_key_id(self) -> dict[Digest, Officer]:
        """Officers by the id of their key."""
        return {officer.key_id: officer for officer in self.officers}

    def limits(self, domain: str, manifest: Manifest) -> Limits | None:
        """What a budget domain may spend; None where the policy has no budget for it."""
        budget = self.budget.get(domain)
        return None if budget is None else budget.limits(float(manifest.delta))

    def waits_for(self, question: Question, terms: Terms) -> ByHand | None:
        """The rule by which a person decides about a query; None where the rules alone do."""
        who = "an officer of this force decides" if self.officers_needed == 1 else "two officers of this force decide"
        if self.approval == "manual":
            return ByHand("approval", f"{who} about every query")
        if question.dataset in self.approval_datasets:
            return ByHand("approval_datasets", f"{who} about every question about {question.dataset}")
        if terms.purpose in self.approval_purposes:
            return ByHand("approval_purposes", f"{who} about every query for the purpose {terms.purpose}")
        return None

    def check(self, question: Question, terms: Terms, manifest: Manifest) -> None:
        """Check a query against every rule that does not depend on the roster.

        Raises:
            Forbidden: with the public text of the first rule that forbids it.
        """
        if self.datasets and question.dataset not in self.datasets:
            raise Forbidden("datasets", f"this force does not answer questions about {question.dataset}")
        if self.purposes and terms.purpose not in self.purposes:
            raise Forbidden("purposes", f"this force does not answer for the purpose {terms.purpose}")
        if question.by_force and not self.allow_by_force:
            raise Forbidden("allow_by_force", "this force does not show its own line")
        self._check_columns(question, manifest)
        cap = self.most_epsilon_per_attempt
        if cap is not None and terms.rho > rho_for_epsilon(cap, float(manifest.delta)):
            raise Forbidden("most_epsilon_per_attempt", f"this force allows epsilon {float(cap):g} per attempt")

    def _check_columns(self, question: Question, manifest: Manifest) -> None:
        for column in sorted(set(question.columns) & set(self.closed_columns)):
            text = f"this force does not let {column} be grouped by, filtered by or measured"
            raise Forbidden("closed_columns", text)
        # Naming some of the forces is a filter by force: the others are subtracted from a total over all.
        if FORCE in self.closed_columns and set(question.forces) != set(manifest.by_id):
            raise Forbidden("closed_columns", "this force answers only questions that name every force")

    def check_age(self, as_at: date, now: int) -> None:
        """Check how old the records are by the date that this force has declared for them.

        Args:
            now: seconds since 1970-01-01 UTC.

        Raises:
            Forbidden: older than the policy allows.
        """
        oldest = self.oldest_snapshot_days
        if oldest is not None and (datetime.fromtimestamp(now, UTC).date() - as_at).days > oldest:
            text = f"this force's records are of {as_at}, and it answers from none older than {oldest} days"
            raise Forbidden("oldest_snapshot_days", text, DeclineCode.STALE)

    def check_roster(self, roster: int, question: Question, rho: Rho, manifest: Manifest) -> None:
        """Check what depends on the roster's size; called again when the roster is fixed.

        Raises:
            Forbidden: with the public text of the rule.
        """
        honest = max(1, roster - manifest.colluders)
        alone = self.most_epsilon_alone
        if alone is not None and rho * honest > rho_for_epsilon(alone, float(manifest.delta)):
            text = f"this force allows epsilon {float(alone):g} if every other party colludes"
            raise Forbidden("most_epsilon_alone", text)
        if self.smallest_roster is not None and roster < self.smallest_roster:
            raise _too_small("smallest_roster", max(self.smallest_roster, manifest.smallest_roster))
        if roster >= manifest.smallest_roster:
            return
        named = len(question.forces)
        if roster == 1 and named == 1:
            if self.allow_by_force:
                return
            raise _too_small("allow_by_force", manifest.smallest_roster)
        if roster >= 3 and named < manifest.smallest_roster and self.allow_small_roster:
            return
        raise _too_small("allow_small_roster", manifest.smallest_roster)


def _too_small(rule: str, smallest: int) -> Forbidden:
    return Forbidden(rule, f"this force takes part in rosters of {smallest} or more forces")
