"""What a query's events say of who took part, and why it ended; nothing counts that is not signed."""

from __future__ import annotations

from cordon.analyst.answer import Declining, Participation
from cordon.analyst.verify import Asked
from cordon.envelope import Envelope
from cordon.errors import QueryFailed, Untrusted
from cordon.register.leaf import (
    AttemptFailed,
    Decision,
    EndReason,
    Outcome,
    QueryEnded,
    Receipt,
    text_commitment,
)
from cordon.wire import messages
from cordon.wire.messages import Event
from cordon.wire.signed import open_claimed, open_signed, peek


def participation(asked: Asked, events: list[Event], answered: tuple[str, ...]) -> Participation:
    """Who is in an answer and who is not, from signed decisions and failures."""
    declined: dict[str, Declining] = {}
    for event in events:
        if isinstance(event, messages.Decided):
            decision = verified_decision(event.decision, asked)
            text = event.text.text if event.text is not None else ""
            if event.text is None or text_commitment(event.text.salt, text) != decision.text_commitment:
                text = ""
            if decision.outcome is Outcome.ADMITTED:
                declined.pop(decision.force, None)
            elif decision.outcome is Outcome.AWAITING_APPROVAL:
                declined[decision.force] = Declining(decision.force, "awaiting approval", text)
            else:
                declined[decision.force] = Declining(decision.force, decision.code.words, text)
    gone = {force for failed in lost(asked, events) for force in failed.missing}
    out = {force: said for force, said in declined.items() if force not in answered}
    silent = set(asked.query.question.forces) - set(answered) - set(out) - gone
    return Participation(
        answered,
        tuple(out[force] for force in sorted(out)),
        tuple(sorted(silent)),
        tuple(sorted(gone - set(answered))),
    )


def verified_decision(envelope: Envelope, asked: Asked) -> Decision:
    """A decision that its force has signed about this query.

    Raises:
        Untrusted: it is not signed by a member, or about another query.
    """
    decision = open_claimed(Decision, envelope, lambda claimed: asked.manifest.keyring(claimed.force))
    if decision.query_hash != asked.query_hash:
        raise Untrusted(f"a decision of {decision.force} is about another query")
    return decision


def lost(asked: Asked, events: list[Event]) -> list[AttemptFailed]:
    """Attempts that failed, as the coordinator has signed."""
    keys = asked.manifest.coordinator_keyring
    failed = [
        open_signed(AttemptFailed, event.attempt_failed, keys)
        for event in events
        if isinstance(event, messages.AttemptLost)
    ]
    return [item for item in failed if item.query_hash == asked.query_hash]


_REASONS = {
    EndReason.TOO_FEW_FORCES: "too few forces took part",
    EndReason.ATTEMPTS_USED_UP: "a force was lost in every attempt that was signed for",
    EndReason.QUERY_EXPIRED: "the query expired",
    EndReason.MANIFEST_CHANGED: "the federation's manifest has changed, and the query no longer fits it",
}


def failure(asked: Asked, events: list[Event], ended: QueryEnded) -> QueryFailed:
    """Why a query has no answer, in words."""
    people = participation(asked, events, ())
    groups: dict[tuple[str, str], int] = {}
    for declining in people.declined:
        groups[declining.code, declining.text] = groups.get((declining.code, declining.text), 0) + 1
    parts = [
        f"{count} declined, {code}: {text}" if text else f"{count} declined, {code}"
        for (code, text), count in sorted(groups.items(), key=lambda item: -item[1])
    ]
    contributed = {peek(Receipt, event.receipt).force for event in events if isinstance(event, messages.Contributed)}
    silent = set(people.silent) - contributed
    if silent:
        parts.append(f"{len(silent)} did not take part")
    if people.lost:
        parts.append(f"lost: {', '.join(people.lost)}")
    charged = lost(asked, events)
    cost = f"{len(charged)} failed attempts were charged" if charged else "nothing was charged"
    asked_of = len(asked.query.question.forces)
    return QueryFailed(f"{_REASONS[ended.reason]} ({asked_of} asked; {'; '.join(parts) or 'no reasons given'}); {cost}")
