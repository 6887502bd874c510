"""What an analyst says of an own query that has completed: its check failed, or its answer is published."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from coordinator.queries import Queries
from coordinator.store import Store, StoredQuery
from cordon.envelope import ANSWER, Envelope, commitment, key_id
from cordon.errors import Untrusted
from cordon.identity import Identity, Role, verify_certificate
from cordon.manifest import Manifest
from cordon.register.leaf import PublishedAnswer, Rejected
from cordon.units import Digest, tagged_digest
from cordon.wire.channel import Handler
from cordon.wire.messages import Accepted
from cordon.wire.proofs import Opening, Publication
from cordon.wire.services import PUBLISH, REJECT, Method
from cordon.wire.signed import open_signed, peek


class Closing:
    """Takes an analyst's last word on a query into the register, once."""

    def __init__(self, store: Store, queries: Queries, manifest: Manifest) -> None:
        """Nothing is said yet."""
        self._store = store
        self._queries = queries
        self._manifest = manifest

    @property
    def handlers(self) -> dict[Method, Handler]:
        """The implementation of each method."""
        return {REJECT: self.reject, PUBLISH: self.publish}

    async def reject(self, envelope: Envelope, caller: Identity) -> Accepted:
        """Record that an opened sum failed its check."""
        stored = self._queries.completed(peek(Rejected, envelope).query_hash, caller)
        open_signed(Rejected, envelope, self._key_of(stored))

        def change() -> None:
            if self._store.note_said(tagged_digest("cordon/rejected", stored.query_hash)):
                self._store.register.append(envelope)

        await self._store.write(change)
        return Accepted()

    async def publish(self, publication: Publication, caller: Identity) -> Accepted:
        """Record that the analyst has published the answer, and keep it for everybody."""
        stored = self._queries.completed(peek(PublishedAnswer, publication.leaf).query_hash, caller)
        said = open_signed(PublishedAnswer, publication.leaf, self._key_of(stored))
        answer = publication.answer
        if answer.payload_type != ANSWER or commitment(ANSWER, answer.payload) != said.answer_commitment:
            raise Untrusted("the answer is not the one that the signed leaf commits to")

        def change() -> None:
            if not self._store.note_said(tagged_digest("cordon/published", stored.query_hash)):
                return
            register = self._store.register
            number = register.append(publication.leaf)
            # An answer tells the question: it is under the question's embargo.
            public_from = register.public_from(stored.query_hash)
            opening = Opening(number, document=answer)
            register.open(opening, public_from=public_from, query_hash=stored.query_hash)

        await self._store.write(change)
        return Accepted()

    def _key_of(self, stored: StoredQuery) -> dict[Digest, Ed25519PublicKey]:
        certified = verify_certificate(
            stored.certificate, self._manifest.authority, roles=frozenset({Role.ANALYST}), now=int(stored.submitted)
        )
        return {key_id(certified.key): certified.key}
