"""Publish an answer: signed by whoever asked, named in the register, public once its embargo has passed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from cordon.analyst.client import CALL_SECONDS, STREAM_SECONDS, Client
from cordon.analyst.document import write_document
from cordon.analyst.federation import Federation
from cordon.analyst.verify import Asked, VerifiedSum, add_again, verify_completed
from cordon.envelope import ANSWER, Envelope, commitment, seal
from cordon.errors import Refused, Untrusted
from cordon.register.leaf import PublishedAnswer, QuerySubmitted
from cordon.units import Digest
from cordon.wire import codec, messages
from cordon.wire.channel import MOST_MESSAGE_BYTES
from cordon.wire.messages import ContributionHead, QueryName
from cordon.wire.proofs import LeavesRequest, Publication
from cordon.wire.services import CONTRIBUTIONS, LEAVES, PUBLISH
from cordon.wire.signed import open_signed, question_digest, sign

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer that may be published, and what people must know before."""

    query_hash: Digest
    answer: dict[str, Any]
    attempt: int
    public_from: int | None
    """Seconds since 1970-01-01 UTC; None where the manifest lists the purpose no more."""
    added: bool
    """Whether the contributions were added again."""


def prepare(client: Client, federation: Federation, query_hash: Digest, *, without_adding: bool = False) -> Prepared:
    """Verify once more what is to be published, and learn when it becomes public.

    Args:
        without_adding: go on where the contributions are not kept any more.

    Raises:
        Refused: not an own query, not opened, or its contributions are not kept any more.
        Misconfigured: the answer that is kept is damaged, or of an earlier version of Cordon.
        Untrusted: the register, or what is kept, does not hold.
    """
    answer = _own_answer(client, query_hash)
    asked, _ = client.recall(query_hash, federation)
    events = client.told(query_hash)
    verified = verify_completed(asked, events)
    if client.workspace.opened(query_hash) != verified.sum_hash or answer["attempt"] != verified.attempt:
        raise Untrusted("the coordinator now shows another sum than the one that was opened")
    index = next(event.leaf_index for event in events if isinstance(event, messages.Submitted))
    leaf, submitted = _submitted(client, asked, index)
    client.line(asked.manifest).show(client.channel, (("the query's submission", leaf), *verified.leaves))
    added = _added_again(client, asked, verified)
    if not added and not without_adding:
        raise Refused(
            "the forces' contributions are not kept any more, so nobody can add them again before it is published",
            hint="--without-adding publishes nevertheless",
        )
    purpose = asked.manifest.by_purpose.get(asked.query.terms.purpose)
    public_from = None if purpose is None else submitted.submitted_at + purpose.embargo_days * DAY_SECONDS
    return Prepared(query_hash, answer, verified.attempt, public_from, added)


def publish(client: Client, federation: Federation, prepared: Prepared) -> int:
    """Sign and publish; publishing again says the same. Returns the index of the leaf that names it.

    Raises:
        Refused: it is too large to be published.
        Untrusted: the register does not show it.
    """
    query_hash = prepared.query_hash
    asked, _ = client.recall(query_hash, federation)

    def made() -> Envelope:
        query = client.workspace.signed(query_hash)[1]
        digest = question_digest(asked.query.question)
        return seal(ANSWER, write_document(prepared.answer, query, client.certificate, digest), client.signer)

    document = client.workspace.publication(query_hash, made)
    said = PublishedAnswer(query_hash, prepared.attempt, commitment(ANSWER, document.payload))
    publication = Publication(sign(said, client.signer), document)
    if len(codec.encode(publication)) > MOST_MESSAGE_BYTES:
        raise Refused("the answer is too large to be published", hint="ask for fewer rows")
    client.channel.call(PUBLISH, publication, timeout=CALL_SECONDS)
    leaves = (("the published answer", publication.leaf),)
    return client.line(asked.manifest).show(client.channel, leaves).indices[0]


def _own_answer(client: Client, query_hash: Digest) -> dict[str, Any]:
    _, envelope = client.workspace.signed(query_hash)
    if [signature.key_id for signature in envelope.signatures] != [client.signer.key_id]:
        raise Refused("another key than the profile's has asked this query", hint="only who asked can publish")
    answer = client.workspace.kept(query_hash)
    if answer is None:
        raise Refused(
            "this query was not opened: there is no answer to publish", hint=f"cordon follow {query_hash.hex()[:16]}"
        )
    return answer


def _submitted(client: Client, asked: Asked, index: int) -> tuple[Envelope, QuerySubmitted]:
    pages = client.channel.stream(LEAVES, LeavesRequest(index, index + 1), timeout=CALL_SECONDS)
    leaves = [leaf for page in pages for leaf in page.leaves]
    if len(leaves) != 1:
        raise Untrusted("the coordinator does not show the leaf of the query's submission")
    envelope = codec.decode_envelope(leaves[0])
    submitted = open_signed(QuerySubmitted, envelope, asked.manifest.coordinator_keyring)
    if submitted.query_hash != asked.query_hash:
        raise Untrusted("the coordinator shows the submission of another query")
    return envelope, submitted


def _added_again(client: Client, asked: Asked, verified: VerifiedSum) -> bool:
    name = QueryName(asked.query_hash)
    parts: Iterable[ContributionHead | bytes] = client.channel.stream(CONTRIBUTIONS, name, timeout=STREAM_SECONDS)
    parts = iter(parts)
    first = next(parts, None)
    if first is None or (isinstance(first, ContributionHead) and not first.ciphertexts):
        return False
    add_again(verified, chain([first], parts), asked.plan)
    return True
