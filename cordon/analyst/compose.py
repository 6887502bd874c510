"""From a question to a signed query: cost, terms, a fresh BFV key and a check seed sealed to each force."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from cordon.accounting import MARGIN, rho_for_epsilon
from cordon.contract import Contract
from cordon.envelope import QUERY, Envelope, Signer, commitment
from cordon.errors import QuestionRefused
from cordon.manifest import Manifest
from cordon.query.expression import measures_of
from cordon.query.model import Query, Question, SealedSeed, Terms
from cordon.query.plan import Plan, make_plan, outline
from cordon.query.split import split
from cordon.query.statement import Statement, compared_in
from cordon.sealing.bfv import Opener
from cordon.sealing.seed import SEED_BYTES, seal_context, seal_seed, seed_hash
from cordon.units import Digest, Rho
from cordon.wire.signed import question_digest, sign

DEFAULT_ATTEMPTS = 2
INTERACTIVE_SECONDS = 60
SLACK_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Cost:
    """What a query may cost."""

    rho: Rho
    """Per attempt."""
    attempts: int


@dataclass(frozen=True, slots=True)
class Composed:
    """A query that is ready to be submitted, and the secrets that open its answer."""

    query_hash: Digest
    query: Query
    envelope: Envelope
    plan: Plan
    opener: Opener
    public_key: bytes
    seed: bytes


def plan_statement(
    statement: Statement, rho: Rho, contract: Contract, manifest: Manifest, weights: Sequence[float] = ()
) -> Plan:
    """Plan what was typed, at a cost per attempt, with that cost split for the narrowest intervals.

    Args:
        weights: how much each column of estimates matters, in their order; empty for equally.

    Raises:
        QuestionRefused: it cannot be planned, no roster could ever answer it, or the weights do not fit.
    """
    question = statement.question
    _check_forces(question)
    outlined = outline(question, contract, most_cells=manifest.limits.cells)
    expressions = [output.expression for output in statement.outputs if output.expression is not None]
    if weights and (len(weights) != len(expressions) or not all(0 < weight < math.inf for weight in weights)):
        raise QuestionRefused(
            f"--weights takes one number above zero for each of the {len(expressions)} columns of estimates",
            hint=f"for example --weights {','.join('1' for _ in expressions)}",
        )
    wanted = list(weights) or [1.0] * len(expressions)
    compared = [expression for expression in compared_in(statement.having) if measures_of(expression)]
    # What HAVING compares counts as much as a column of mean weight.
    wanted += [sum(wanted) / len(wanted)] * len(compared)
    shares = split(rho, outlined, [*expressions, *compared], wanted, contract)
    return plan_question(question, shares, contract, manifest)


def plan_question(question: Question, block_rho: tuple[Rho, ...], contract: Contract, manifest: Manifest) -> Plan:
    """Plan a question whose cost has been split.

    Raises:
        QuestionRefused: it cannot be planned, or no roster could ever answer it.
    """
    _check_forces(question)
    return make_plan(question, block_rho, contract, colluders=manifest.colluders, most_cells=manifest.limits.cells)


def _check_forces(question: Question) -> None:
    if len(question.forces) == 2:
        raise QuestionRefused(
            "two forces cannot be asked alone: each could read the other's value off the sum",
            hint="name one force, or three or more",
        )


def cost_of_epsilon(epsilon: Fraction, manifest: Manifest, attempts: int | None) -> Cost:
    """The cost of asking at an epsilon per attempt, at the federation's delta.

    Raises:
        QuestionRefused: not positive, too small to buy anything, or over the federation's limit.
    """
    if epsilon <= 0:
        raise QuestionRefused(f"epsilon must be above zero, got {float(epsilon):g}")
    if epsilon > manifest.limits.epsilon:
        raise QuestionRefused(
            f"epsilon {float(epsilon):g} is over the federation's limit of {float(manifest.limits.epsilon):g} per query"
        )
    return _cost(rho_for_epsilon(epsilon, float(manifest.delta)), manifest, attempts)


def cost_of_half_width(
    half_width: Fraction, widest: Callable[[Rho], float], parts: int, manifest: Manifest, attempts: int | None
) -> Cost:
    """The least cost at which every cell's 95 % half-width is at most `half_width`, if all forces answer.

    Args:
        half_width: in each column's own unit.
        widest: the largest half-width of any column at a rho per attempt.
        parts: of the plan, which need at least one nano-rho each.

    Raises:
        QuestionRefused: not positive, or it would cost more than the federation allows.
    """
    if half_width <= 0:
        raise QuestionRefused(f"the half-width must be above zero, got {float(half_width):g}")
    least, most = MARGIN.nano + parts, manifest.most_rho.nano
    best = widest(Rho(most))
    if not math.isfinite(best):
        raise QuestionRefused(
            "how wide the intervals of a column would be cannot be foreseen: its denominator may be zero",
            hint="ask with --epsilon",
        )
    if best > half_width:
        raise QuestionRefused(
            f"the federation's limit buys a half-width of {best:.4g} at best",
            hint="ask for a wider one, or fewer measures",
        )
    while least < most:
        middle = (least + most) // 2
        if widest(Rho(middle)) <= half_width:
            most = middle
        else:
            least = middle + 1
    return _cost(Rho(most), manifest, attempts)


def check_purpose(purpose: str, manifest: Manifest) -> None:
    """Check that a purpose is one of the federation's.

    Raises:
        QuestionRefused: it is not.
    """
    if purpose not in manifest.by_purpose:
        listed = ", ".join(sorted(manifest.by_purpose))
        raise QuestionRefused(f"the federation lists no purpose {purpose!r}", hint=f"purposes: {listed}")


def check_wait(seconds: object) -> None:
    """Check how long a question is to wait for forces where a person decides.

    Raises:
        QuestionRefused: it is no time.
    """
    if not isinstance(seconds, int) or seconds < 0:
        raise QuestionRefused("--wait takes a whole number of days from 0 on")


def compose(
    plan: Plan,
    cost: Cost,
    manifest: Manifest,
    *,
    purpose: str,
    signer: Signer,
    wait_seconds: int,
    now: int,
) -> Composed:
    """Sign a query on terms that every force can check.

    Args:
        plan: of the question, at the cost per attempt.
        purpose: a code of the manifest.
        wait_seconds: how long to wait for forces where a person decides; 0 for not at all.
        now: seconds since 1970-01-01 UTC.

    Raises:
        QuestionRefused: the purpose is not listed.
    """
    check_purpose(purpose, manifest)
    question = plan.question
    opener, seed, nonce = Opener(plan.parameters), secrets.token_bytes(SEED_BYTES), secrets.token_bytes(32)
    public_key = opener.public_key()
    key_hash = Digest(hashlib.sha256(public_key).digest())
    sealed = tuple(
        SealedSeed(force, _sealed(force, question, seed, nonce, key_hash, manifest, signer))
        for force in question.forces
    )
    decide_by = now + (wait_seconds or INTERACTIVE_SECONDS)
    timing = manifest.timing
    lasts = cost.attempts * (timing.ready_seconds + timing.contribute_seconds) + SLACK_SECONDS
    terms = Terms(
        rho=cost.rho,
        block_rho=tuple(block.rho for block in plan.blocks),
        attempts=cost.attempts,
        purpose=purpose,
        manifest_version=manifest.version,
        nonce=nonce,
        decide_by=decide_by,
        expires=decide_by + lasts,
        parameter_set=plan.parameters.name,
        bfv_key_hash=key_hash,
        seed_hash=seed_hash(seed),
        sealed_seeds=sealed,
    )
    query = Query(question, terms)
    envelope = sign(query, signer)
    return Composed(commitment(QUERY, envelope.payload), query, envelope, plan, opener, public_key, seed)


def _cost(rho: Rho, manifest: Manifest, attempts: int | None) -> Cost:
    if rho.nano <= MARGIN.nano:
        raise QuestionRefused("the privacy cost is too small to buy any answer", hint="ask with a larger --epsilon")
    most = manifest.most_rho.nano // rho.nano
    allowed = min(manifest.limits.attempts, most)
    if allowed < 1 or (attempts is not None and not 1 <= attempts <= allowed):
        raise QuestionRefused(f"the federation's limits allow at most {allowed} attempts at this cost")
    return Cost(rho, attempts or min(DEFAULT_ATTEMPTS, allowed))


def _sealed(
    force: str, question: Question, seed: bytes, nonce: bytes, key_hash: Digest, manifest: Manifest, signer: Signer
) -> bytes:
    context = seal_context(
        force=force,
        analyst_key_id=signer.key_id,
        question=question_digest(question),
        nonce=nonce,
        bfv_key_hash=key_hash,
        seed=seed_hash(seed),
    )
    return seal_seed(seed, manifest.seal_key(force), context)
