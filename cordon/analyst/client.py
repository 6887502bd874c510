"""Ask, follow, verify and open: an analyst's side of the protocol, over one channel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from cordon.analyst.answer import OpenedAnswer, Record, make_answer
from cordon.analyst.compose import Composed, Cost, check_wait, compose, plan_question, plan_statement
from cordon.analyst.federation import Federation, verified_federation
from cordon.analyst.line import Line
from cordon.analyst.profile import Profile
from cordon.analyst.residents import check_residents
from cordon.analyst.times import utc
from cordon.analyst.told import failure, lost, participation
from cordon.analyst.verify import Asked, VerifiedSum, add_again, verify_completed, verify_sum
from cordon.analyst.vintages import agreed, declared
from cordon.analyst.workspace import StoredQuery, Workspace
from cordon.contract import Contract
from cordon.envelope import KeySigner, Signer, key_id
from cordon.errors import CordonError, Malformed, Refused, Unavailable, Untrusted
from cordon.identity import Role, verify_certificate
from cordon.keyfile import read_certificate, read_signing_key
from cordon.manifest import Manifest
from cordon.query.model import Query
from cordon.query.sql import parse_sql
from cordon.query.statement import Statement
from cordon.register.leaf import (
    QueryEnded,
    Rejected,
)
from cordon.sealing.bfv import Opener
from cordon.sealing.check import verify_opened
from cordon.units import Digest
from cordon.wire import codec, messages
from cordon.wire.channel import Channel, Stream
from cordon.wire.messages import CatalogueReply, CatalogueRequest, Event, QueryName, Submission
from cordon.wire.services import CATALOGUE, CONTRIBUTIONS, FOLLOW, PROCEED, REJECT, SUBMIT, SUM
from cordon.wire.signed import open_signed, sign

CALL_SECONDS = 30.0
STREAM_SECONDS = 300.0
MOST_RECONNECTIONS = 6
MOST_EVENTS = 200_000
"""Of one query: ten attempts of every force that a federation can have need fewer."""

CHECKED = "signatures, roster, receipts, their place in the register, registered sum, check cells"
"""What was verified of every answer, in words."""

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

    @property
    def channel(self) -> Channel:
        """To the coordinator."""
        return self._channel

    @property
    def workspace(self) -> Workspace:
        """The analyst's folder."""
        return self._workspace

    @property
    def signer(self) -> Signer:
        """The analyst's key."""
        return self._signer

    @property
    def certificate(self) -> bytes:
        """Of that key, DER."""
        return self._certificate

    @property
    def governance_keys(self) -> tuple[str, ...]:
        """What the analyst trusts, in hexadecimal."""
        return self._profile.governance_keys

    def __enter__(self) -> Self:
        """Nothing is dialled before it is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the channel."""
        self.close()

    def close(self) -> None:
        """Hang up; what would dial anew is refused, and what lies in the workspace can still be read."""
        self._channel.close()
        self._channel = _HungUp()

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
        weights: Sequence[float] = (),
        wait_seconds: int = 0,
        add_contributions: bool = False,
        on_event: OnEvent,
    ) -> dict[str, Any]:
        """Submit a question, follow it, verify and open its answer.

        Args:
            weights: how much each column of estimates matters; empty for equally.
            wait_seconds: how long to wait for forces where a person decides.
            add_contributions: also fetch every contribution and add them again.
            on_event: told of every event as it arrives.

        Returns:
            `OpenedAnswer.as_dict`.

        Raises:
            QueryFailed: it ended without an answer.
            CordonError: the question is refused, or something does not verify.
        """
        check_wait(wait_seconds)
        question = statement.question
        contract = federation.contract_of(question)
        check_residents(statement)
        plan = plan_statement(statement, cost.rho, contract, federation.manifest, weights)
        self._check_own_certificate(federation.manifest)
        composed = compose(
            plan, cost, federation.manifest,
            purpose=purpose, signer=self._signer, wait_seconds=wait_seconds, now=int(self._clock()),
        )  # fmt: skip
        stored = StoredQuery(
            composed.query_hash, statement.sql, composed.envelope, composed.opener.secret, composed.seed,
            declared(federation, contract, question.forces),
        )  # fmt: skip
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
            Misconfigured: the answer that was kept is damaged.
            CordonError: its key is not here, or something does not verify.
        """
        known = self._workspace.kept(query_hash)
        if known is not None:
            return known
        stored = self._workspace.query(query_hash)
        asked, statement = self.recall(query_hash, federation)
        # A force that has loaded other records since may have answered with either.
        now = declared(federation, asked.contract, asked.query.question.forces)
        stored = replace(stored, vintages=agreed(stored.vintages, now))
        name = QueryName(query_hash)
        events = self._events(lambda: self._channel.stream(FOLLOW, name), query_hash, on_event)
        return self._conclude(asked, statement, stored, events, add_contributions=add_contributions)

    def recall(self, query_hash: Digest, federation: Federation) -> tuple[Asked, Statement]:
        """What an own query asked, as it was signed.

        Raises:
            Refused: it was not asked from this workspace.
            Untrusted: another analyst's key signed it, or its statement is not what was signed.
        """
        sql, envelope = self._workspace.signed(query_hash)
        query = open_signed(Query, envelope, {self._signer.key_id: self._own_key()})
        question = query.question
        contract = federation.contract_of(question)
        statement = parse_sql(sql, {contract.dataset: contract}, list(federation.manifest.by_id))
        if statement.question != question:
            raise Untrusted("the stored statement is not the question that was signed")
        plan = plan_question(question, query.terms.block_rho, contract, federation.manifest)
        manifest, payload = federation.manifest, envelope.payload
        return Asked(query_hash, query, payload, self._signer.key_id, contract, manifest, plan), statement

    def told(self, query_hash: Digest) -> list[Event]:
        """Everything that the coordinator tells of an own query that is over."""
        return self._events(lambda: self._channel.stream(FOLLOW, QueryName(query_hash)), query_hash, lambda _: None)

    def line(self, manifest: Manifest) -> Line:
        """The checkpoints of the federation's register that were accepted here."""
        return Line(self._workspace.path, manifest)

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
            why = failure(asked, events, ended)
            self._workspace.close(asked.query_hash, None)
            raise why
        verified = verify_completed(asked, events)
        standing = self.line(asked.manifest).show(self._channel, verified.leaves)
        opened = self._open(asked, verified, stored, add_contributions=add_contributions)
        answering = {force: vintage for force, vintage in stored.vintages.items() if force in verified.forces}
        answer: OpenedAnswer = make_answer(
            opened,
            statement,
            asked.plan,
            asked.contract,
            asked.manifest,
            participation(asked, events, verified.forces),
            query_id=asked.query_hash.hex(),
            rho=asked.query.terms.rho,
            attempts_charged=max(1 + len(lost(asked, events)), verified.attempt),
            record=Record(verified.attempt, standing.indices[-1], standing.checkpoint, verified.receipts, answering),
            opened_at=utc(int(self._clock())).isoformat(),
            checked=CHECKED + (", contributions added again" if add_contributions else ""),
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
        # Step 9: written down before anything is decrypted: this key opens this sum and no other.
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
        # Step 10: final. Nothing that was decrypted is kept, and nobody learns more than that it failed.
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


class _HungUp(Channel):
    """In the place of a channel that was closed."""

    def __init__(self) -> None:
        """Dials nobody."""

    def call(self, *_: Any, **__: Any) -> Any:
        """Refuse."""
        raise _over()

    def stream(self, *_: Any, **__: Any) -> Stream:
        """Refuse."""
        raise _over()

    def send(self, *_: Any, **__: Any) -> Any:
        """Refuse."""
        raise _over()

    def close(self) -> None:
        """Nothing is left to close."""


def _over() -> Refused:
    return Refused("this session is closed", hint="begin another with connect()")
