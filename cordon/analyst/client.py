"""Ask, follow, verify and open: an analyst's side of the protocol, over one channel."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import islice
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from cordon.analyst.answer import Answer, Declining, Participation, make_answer
from cordon.analyst.compose import Composed, Cost, compose, plan_question
from cordon.analyst.federation import Federation, verified_federation
from cordon.analyst.profile import Profile
from cordon.analyst.verify import Asked, VerifiedSum, add_again, verify_completed, verify_sum
from cordon.analyst.workspace import StoredQuery, Workspace
from cordon.contract import Contract
from cordon.envelope import Envelope, KeySigner, key_id
from cordon.errors import CordonError, Malformed, QueryFailed, Unavailable, Untrusted
from cordon.identity import Role, verify_certificate
from cordon.keyfile import read_certificate, read_signing_key
from cordon.manifest import Manifest
from cordon.query.model import Query
from cordon.query.sql import Statement, parse_sql
from cordon.register.leaf import (
    AttemptFailed,
    Decision,
    EndReason,
    Outcome,
    QueryEnded,
    Receipt,
    Rejected,
    text_commitment,
)
from cordon.sealing.bfv import Opener
from cordon.sealing.check import verify_opened
from cordon.units import Digest
from cordon.wire import codec, messages
from cordon.wire.channel import Channel, Stream
from cordon.wire.messages import CatalogueReply, CatalogueRequest, Event, QueryName, Submission
from cordon.wire.services import CATALOGUE, CONTRIBUTIONS, FOLLOW, PROCEED, REJECT, SUBMIT, SUM
from cordon.wire.signed import open_claimed, open_signed, peek, sign

CALL_SECONDS = 30.0
STREAM_SECONDS = 300.0
MOST_RECONNECTIONS = 6
MOST_EVENTS = 200_000
"""Of one query: ten attempts of every force that a federation can have need fewer."""

OnEvent = Callable[[Event], None]


class Client:
    """One analyst of one federation; use as a context manager."""

    def __init__(self, profile: Profile, *, clock: Callable[[], float] = time.time) -> None:
        """Read keys and certificates.

        Args:
            clock: seconds since 1970-01-01 UTC.

        Raises:
            Misconfigured: one of them is missing, truncated or readable by others.
        """
        self._profile = profile
        self._clock = clock
        self._signer = KeySigner(read_signing_key(profile.signing_key))
        self._certificate = read_certificate(profile.certificate).public_bytes(Encoding.DER)
        self._workspace = Workspace(profile.workspace)
        self._channel = Channel(profile.coordinator, profile.tls.read(), proxy=profile.proxy)

    def __enter__(self) -> Self:
        """Nothing is dialled before it is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the channel."""
        self._channel.close()

    def federation(self, *, cached: bool = False) -> Federation:
        """The federation's verified manifest, contracts and connected forces.

        Args:
            cached: take what was fetched last, if anything was.

        Raises:
            CordonError: it cannot be fetched, or is not what governance has signed.
        """
        known = self._workspace.catalogue() if cached else None
        if known is not None:
            try:
                return verified_federation(codec.decode(CatalogueReply, known), self._profile.governance_keys)
            except (Malformed, Untrusted):
                # Written by another version or for another federation: fetch it anew.
                pass
        reply = self._channel.call(CATALOGUE, CatalogueRequest(), timeout=CALL_SECONDS)
        federation = verified_federation(reply, self._profile.governance_keys)
        self._workspace.accept_manifest(federation.manifest.version, federation.manifest.digest)
        self._workspace.keep_catalogue(codec.encode(reply))
        return federation

    def ask(
        self,
        statement: Statement,
        cost: Cost,
        federation: Federation,
        *,
        purpose: str,
        wait_seconds: int = 0,
        add_contributions: bool = False,
        on_event: OnEvent,
    ) -> dict[str, Any]:
        """Submit a question, follow it, verify and open its answer.

        Args:
            wait_seconds: how long to wait for forces where a person decides.
            add_contributions: also fetch every contribution and add them again.
            on_event: told of every event as it arrives.

        Returns:
            `Answer.as_dict`.

        Raises:
            QueryFailed: it ended without an answer.
            CordonError: the question is refused, or something does not verify.
        """
        question = statement.question
        contract, _ = federation.catalogue[question.dataset, question.contract_version]
        self._check_own_certificate(federation.manifest)
        composed = compose(
            question, cost, contract, federation.manifest,
            purpose=purpose, signer=self._signer, wait_seconds=wait_seconds, now=int(self._clock()),
        )  # fmt: skip
        stored = StoredQuery(
            composed.query_hash, statement.sql, composed.envelope, composed.opener.secret, composed.seed
        )
        self._workspace.add(stored)
        asked = self._asked(composed, contract, federation.manifest)
        submission = Submission(composed.envelope, self._certificate, composed.public_key, bool(wait_seconds))
        events = self._events(lambda: self._channel.stream(SUBMIT, submission), asked.query_hash, on_event)
        return self._conclude(asked, statement, stored, events, add_contributions=add_contributions)

    def follow(
        self, query_hash: Digest, federation: Federation, *, add_contributions: bool = False, on_event: OnEvent
    ) -> dict[str, Any]:
        """Follow a query again, also after a crash, and open its answer; an opened one is read again.

        Raises:
            QueryFailed: it ended without an answer.
            CordonError: its key is not here, or something does not verify.
        """
        known = self._workspace.answer(query_hash)
        if known is not None:
            answer: dict[str, Any] = json.loads(known)
            return answer
        stored = self._workspace.query(query_hash)
        query = open_signed(Query, stored.envelope, {self._signer.key_id: self._own_key()})
        question = query.question
        contract, _ = federation.catalogue[question.dataset, question.contract_version]
        statement = parse_sql(stored.sql, {contract.dataset: contract}, list(federation.manifest.by_id))
        if statement.question != question:
            raise Untrusted("the stored statement is not the question that was signed")
        plan = plan_question(question, query.terms.rho, contract, federation.manifest)
        asked = Asked(
            query_hash, query, stored.envelope.payload, self._signer.key_id, contract, federation.manifest, plan
        )
        name = QueryName(query_hash)
        events = self._events(lambda: self._channel.stream(FOLLOW, name), query_hash, on_event)
        return self._conclude(asked, statement, stored, events, add_contributions=add_contributions)

    def proceed(self, query_hash: Digest) -> None:
        """Tell the coordinator to go on without forces where a person still decides."""
        self._channel.call(PROCEED, QueryName(query_hash), timeout=CALL_SECONDS)

    def find(self, prefix: str) -> Digest:
        """The query of this analyst's whose id begins with `prefix`."""
        return self._workspace.find(prefix)

    # Following

    def _events(self, first: Callable[[], Stream], query_hash: Digest, on_event: OnEvent) -> list[Event]:
        """Every event up to the last; a lost stream is taken up again, and tells from the beginning."""
        events: list[Event] = []
        call, tries = first, 0
        while True:
            try:
                for number, event in enumerate(call()):
                    if number >= MOST_EVENTS:
                        raise Malformed(f"the coordinator tells of more than {MOST_EVENTS} events")
                    if number >= len(events):
                        events.append(event)
                        tries = 0
                        on_event(event)
                return events
            except Unavailable as error:
                tries += 1
                if tries > MOST_RECONNECTIONS:
                    raise Unavailable(str(error), hint=f"later: cordon follow {query_hash.hex()[:16]}") from None
                time.sleep(min(5.0, 0.25 * 2**tries))
                # Before the first event nothing says that the coordinator has the query: submit it again.
                if events:
                    call = lambda: self._channel.stream(FOLLOW, QueryName(query_hash))  # noqa: E731 - as short as it gets

    def _conclude(
        self, asked: Asked, statement: Statement, stored: StoredQuery, events: list[Event], *, add_contributions: bool
    ) -> dict[str, Any]:
        last = events[-1] if events else None
        if isinstance(last, messages.Ended):
            # Verified before the key goes: an end that nobody signed must not cost an answer that was paid for.
            ended = open_signed(QueryEnded, last.ended, asked.manifest.coordinator_keyring)
            if ended.query_hash != asked.query_hash:
                raise Untrusted("the coordinator says that another query has ended")
            failure = _failure(asked, events, ended)
            self._workspace.close(asked.query_hash, None)
            raise failure
        verified = verify_completed(asked, events)
        opened = self._open(asked, verified, stored, add_contributions=add_contributions)
        lost = _lost(asked, events)
        checked = "signatures, roster, receipts, registered sum, check cells"
        answer: Answer = make_answer(
            opened,
            statement,
            asked.plan,
            asked.contract,
            asked.manifest,
            participation(asked, events, verified.forces),
            query_id=asked.query_hash.hex(),
            rho=asked.query.terms.rho,
            attempts_charged=1 + len(lost),
            checked=checked + (", contributions added again" if add_contributions else ""),
        )
        self._workspace.close(asked.query_hash, answer.as_dict())
        return answer.as_dict()

    # Opening

    def _open(self, asked: Asked, verified: VerifiedSum, stored: StoredQuery, *, add_contributions: bool) -> list[int]:
        name = QueryName(asked.query_hash)
        parts = self._channel.stream(SUM, name, timeout=STREAM_SECONDS)
        # One more than the plan has is enough to see that it is not the sum.
        chunks = [part.ciphertext for part in islice(parts, asked.plan.ciphertexts + 1)]
        verify_sum(verified, chunks, asked.plan)
        if add_contributions:
            add_again(verified, self._channel.stream(CONTRIBUTIONS, name, timeout=STREAM_SECONDS), asked.plan)
        # Step 8: written down before anything is decrypted: this key opens this sum and no other.
        self._workspace.record_opening(asked.query_hash, verified.sum_hash)
        try:
            slots = Opener(asked.plan.parameters, stored.secret).open(chunks)
            return verify_opened(
                slots,
                cells=asked.plan.cells,
                seed=stored.seed,
                transcript=verified.transcript,
                roster=len(verified.forces),
                parameters=asked.plan.parameters,
            )
        except (Untrusted, Malformed) as error:
            raise self._rejected(asked, verified, error) from None

    def _rejected(self, asked: Asked, verified: VerifiedSum, error: CordonError) -> Untrusted:
        # Step 9: final. Nothing that was decrypted is kept, and nobody learns more than that it failed.
        self._workspace.close(asked.query_hash, None)
        rejected = sign(Rejected(asked.query_hash, verified.attempt, verified.sum_hash), self._signer)
        try:
            self._channel.call(REJECT, rejected, timeout=CALL_SECONDS)
            contributions = self._channel.stream(CONTRIBUTIONS, QueryName(asked.query_hash), timeout=STREAM_SECONDS)
            add_again(verified, contributions, asked.plan)
        except Unavailable:
            blame = "the contributions could not be fetched to see who"
        except (Untrusted, Malformed) as found:
            blame = str(found)
        else:
            blame = "the contributions add up to the registered sum, so a force that was asked sent wrong values"
        return Untrusted(f"{error}; {blame}", hint="the query is closed and cannot be opened again: ask anew")

    # Own identity

    def _own_key(self) -> Ed25519PublicKey:
        return read_signing_key(self._profile.signing_key).public_key()

    def _check_own_certificate(self, manifest: Manifest) -> None:
        certified = verify_certificate(
            self._certificate, manifest.authority, roles=frozenset({Role.ANALYST}), now=int(self._clock())
        )
        if key_id(certified.key) != self._signer.key_id:
            raise Untrusted("the profile's certificate is for another signing key than the profile's")

    def _asked(self, composed: Composed, contract: Contract, manifest: Manifest) -> Asked:
        payload = composed.envelope.payload
        return Asked(
            composed.query_hash, composed.query, payload, self._signer.key_id, contract, manifest, composed.plan
        )


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
    lost = {force for failed in _lost(asked, events) for force in failed.missing}
    out = {force: said for force, said in declined.items() if force not in answered}
    silent = set(asked.query.question.forces) - set(answered) - set(out) - lost
    return Participation(
        answered,
        tuple(out[force] for force in sorted(out)),
        tuple(sorted(silent)),
        tuple(sorted(lost - set(answered))),
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


def _lost(asked: Asked, events: list[Event]) -> list[AttemptFailed]:
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


def _failure(asked: Asked, events: list[Event], ended: QueryEnded) -> QueryFailed:
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
    charged = _lost(asked, events)
    cost = f"{len(charged)} failed attempts were charged" if charged else "nothing was charged"
    asked_of = len(asked.query.question.forces)
    return QueryFailed(f"{_REASONS[ended.reason]} ({asked_of} asked; {'; '.join(parts) or 'no reasons given'}); {cost}")
