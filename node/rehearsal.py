"""What would be decided about a question, and by which rule: the gate's own steps, without a signed query.

The only part of a node that reads SQL, for the force's own people. The serving node never imports it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from fractions import Fraction

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cordon.accounting import MARGIN, rho_for_epsilon
from cordon.contract import Contract
from cordon.errors import Declined, QuestionRefused
from cordon.manifest import Manifest
from cordon.query.model import Query, Question, SealedSeed, Terms
from cordon.query.plan import make_plan, outline, split_evenly
from cordon.query.sql import Versions, parse_sql
from cordon.query.words import describe
from cordon.register.leaf import NO_DIGEST
from cordon.register.spending import Limits, Room, Spender
from cordon.units import Rho
from node.contribute import period_of
from node.gate import NONCE_BYTES, Gate, Planned, State
from node.office import Office
from node.pausing import is_paused
from node.policy import ByHand, Forbidden

STEPS = {
    2: "time", 3: "membership", 4: "health and holdings", 5: "plan and terms", 6: "own rules", 8: "budget",
}  # fmt: skip
"""Steps of docs/protocol.md §4 that can be rehearsed: the signature and the check seed need a signed query."""

LIFE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Asking:
    """Who would ask what, for which purpose, at which cost."""

    sql: str
    purpose: str
    epsilon: Fraction
    attempts: int
    analyst: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What would be decided."""

    question: Question
    rho: Rho
    step: int
    """Of the gate, that declines; 0 where none does."""
    code: str
    text: str
    """In public words."""
    rule: str
    """The policy's key that decides, if one does."""
    by_hand: ByHand | None
    limits: Limits | None
    room: Room | None
    """What could still be charged; None where the query does not come as far."""

    @property
    def decision(self) -> str:
        """In words."""
        if self.step:
            return "declined"
        return "awaiting approval" if self.by_hand is not None else "admitted"

    def facts(self, manifest: Manifest) -> dict[str, object]:
        """For JSON, and for a screen."""
        return {
            "question": describe(self.question),
            "decision": self.decision,
            "step": f"{self.step} ({STEPS[self.step]})" if self.step else "",
            "code": self.code,
            "rule": self.rule,
            "text": self.text,
            "by_a_person": self.by_hand.text if self.by_hand is not None else "",
            "epsilon": round(manifest.epsilon(self.rho), 6),
            "share_of_year": round(self.rho.nano / self.limits.period.nano, 6) if self.limits is not None else None,
            "left": round(manifest.epsilon(self.room.left), 6) if self.room is not None else None,
            "tightest": self.room.under if self.room is not None else "",
        }


def rehearse(asking: Asking, office: Office, now: int) -> Rehearsal:
    """Take a question through the gate as it is now.

    Raises:
        QuestionRefused: the SQL is outside what can be asked, or the cost buys nothing.
    """
    gate = Gate(
        office.settings.force, office.manifest, office.catalogue, office.policy, X25519PrivateKey.generate()
    )  # fmt: skip
    query = _query(asking, office, now)
    spending, analyst = office.spending(), office.key_of(asking.analyst)

    def room(spender: Spender, limits: Limits) -> Room:
        return spending.room(spender, max(period_of(now), spending.period(spender.domain)), limits)

    state = State(office.holdings(), room, is_paused(office.settings.pause_file), now)
    steps = [0]
    planned: Planned | None = None
    refused: Declined | None = None
    try:
        planned = gate.plan(query, state, reached=steps.append)
        steps.append(8)
        gate.check_budget(query, planned, analyst, NO_DIGEST, state)
    except Declined as declined:
        refused = declined
    limits = planned.limits if planned is not None else None
    spender = Spender(planned.domain, analyst, asking.purpose, NO_DIGEST) if planned is not None else None
    by_hand = office.policy.waits_for(query.question, query.terms)
    return Rehearsal(
        question=query.question,
        rho=query.terms.rho,
        step=steps[-1] if refused is not None else 0,
        code=refused.code if refused is not None else "",
        text=_text(refused, by_hand),
        rule=_rule(refused, by_hand, steps[-1]),
        by_hand=by_hand,
        limits=limits,
        room=room(spender, limits) if spender is not None and limits is not None else None,
    )


def _text(refused: Declined | None, by_hand: ByHand | None) -> str:
    if refused is not None:
        return str(refused)
    return by_hand.text if by_hand is not None else ""


def _rule(refused: Declined | None, by_hand: ByHand | None, step: int) -> str:
    if isinstance(refused, Forbidden):
        return refused.rule
    if refused is not None:
        return "budget" if step == 8 else ""
    return by_hand.rule if by_hand is not None else ""


def _query(asking: Asking, office: Office, now: int) -> Query:
    manifest = office.manifest
    question = parse_sql(asking.sql, _versions(office), list(manifest.by_id)).question
    contract, _ = office.catalogue[question.dataset, question.contract_version]
    rho = rho_for_epsilon(asking.epsilon, float(manifest.delta))
    blocks = _blocks(question, contract, office)
    if rho.nano <= MARGIN.nano + blocks:
        raise QuestionRefused("the privacy cost is too small to buy any answer", hint="give a larger --epsilon")
    shares = split_evenly(rho, blocks)
    terms = Terms(
        rho=rho,
        block_rho=shares,
        attempts=asking.attempts,
        purpose=asking.purpose,
        manifest_version=manifest.version,
        nonce=secrets.token_bytes(NONCE_BYTES),
        decide_by=now + LIFE_SECONDS,
        expires=now + LIFE_SECONDS,
        parameter_set=_parameter_set(question, shares, contract, office),
        bfv_key_hash=NO_DIGEST,
        seed_hash=NO_DIGEST,
        sealed_seeds=tuple(SealedSeed(force, b"") for force in question.forces),
    )
    return Query(question, terms)


def _blocks(question: Question, contract: Contract, office: Office) -> int:
    try:
        return len(outline(question, contract, most_cells=office.manifest.limits.cells).parts)
    except QuestionRefused:
        # The gate says why, in its own words.
        return 1


def _parameter_set(question: Question, shares: tuple[Rho, ...], contract: Contract, office: Office) -> str:
    try:
        most = office.manifest.limits.cells
        plan = make_plan(question, shares, contract, colluders=office.manifest.colluders, most_cells=most)
    except QuestionRefused:
        # The gate says why, in its own words.
        return ""
    return plan.parameters.name


def _versions(office: Office) -> Versions:
    """What FROM can name here; a bare name is the newest version that this force holds, or else the newest."""
    held = office.holdings()

    def choose(versions: tuple[Contract, ...], _: tuple[str, ...]) -> Contract:
        return max(versions, key=lambda each: ((each.dataset, each.version) in held, each.version))

    return Versions.of((contract for contract, _ in office.catalogue.values()), choose)
