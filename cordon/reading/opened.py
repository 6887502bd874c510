"""Opened payloads: each is held against the leaf that commits to it, and is kept only if it fits.

docs/auditing.md §3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError

from cordon.envelope import ANSWER, QUERY, commitment, key_id, open_envelope, pre_authentication_encoding
from cordon.errors import CordonError, Malformed, Untrusted
from cordon.identity import Certified, Role, verify_certificate
from cordon.query.model import Query, Question, Terms
from cordon.reading.examine import parsed, signed_by
from cordon.reading.members import Membership
from cordon.reading.mirror import Mirror
from cordon.reading.signatures import verifies
from cordon.reading.source import Source
from cordon.reading.verdict import Check, Discrepancy
from cordon.register.leaf import text_commitment
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.proofs import OpenedQuery, Opening
from cordon.wire.v1 import query_pb2

CHUNK = 512
MOST_CERTIFICATES = 10_000

_VERIFIED: dict[tuple[bytes, str], tuple[float, float, Certified]] = {}
"""By certificate and authority: from when until when it is valid, and whom it names."""


# With a query go the answers that were published to it, which repeat it, and the texts of its decisions.
_ERASED = """
SELECT target FROM erased UNION SELECT leaf FROM wanted WHERE query IN (SELECT target FROM erased) ORDER BY 1
"""


def settle_openings(mirror: Mirror, source: Source, members: Membership) -> Iterator[Discrepancy]:
    """Fetch what is opened by now and was not before; report what does not fit its leaf."""
    for rows in _wanted(mirror):
        with mirror.transaction():
            for opening in source.openings(rows):
                if opening.leaf_index not in rows:
                    continue
                try:
                    _check(mirror, members, opening, *rows[opening.leaf_index])
                except CordonError as error:
                    what = f"what is served as its opening does not fit it: {error}"
                    yield Discrepancy(opening.leaf_index, what, Check.OPENINGS)
                else:
                    mirror.put_opening(opening.leaf_index, codec.encode(opening))
    for opening in source.openings([row[0] for row in mirror.sql.execute(_ERASED).fetchall()]):
        yield Discrepancy(opening.leaf_index, "its opening was erased, and is still served", Check.OPENINGS)


def _wanted(mirror: Mirror) -> Iterator[dict[int, tuple[str, int]]]:
    """Leaves that commit to something which is not here: leaf → its kind and query, some at a time."""
    last = -1
    while True:
        rows = mirror.sql.execute(
            "SELECT wanted.leaf, kind, query FROM wanted LEFT JOIN erased ON target IN (wanted.leaf, wanted.query) "
            "WHERE opened = 0 AND target IS NULL AND wanted.leaf > ? ORDER BY wanted.leaf LIMIT ?",
            (last, CHUNK),
        ).fetchall()
        if not rows:
            return
        last = rows[-1][0]
        yield {leaf: (kind, query) for leaf, kind, query in rows}


def settle_analysts(mirror: Mirror, members: Membership) -> None:
    """Verify what analysts signed, for queries whose opening says by now whose key it is."""
    rows = mirror.sql.execute(
        "SELECT unsigned.leaf, query FROM unsigned JOIN openings ON openings.leaf = unsigned.query"
    ).fetchall()
    with mirror.transaction():
        for leaf, query in rows:
            envelope, _ = parsed(mirror.leaf(leaf))
            analyst = analyst_of(mirror, members, query)
            if analyst is None or not signed_by(envelope, analyst.key.public_bytes_raw()):
                mirror.report(leaf, "is not signed by the analyst whose query it is about", Check.LEAVES)
            mirror.sql.execute("DELETE FROM unsigned WHERE leaf = ?", (leaf,))


def opened_query(mirror: Mirror, leaf: int) -> tuple[Query, OpenedQuery] | None:
    """The query of a leaf, if it is opened; verified before it was stored."""
    data = mirror.opening(leaf)
    opened = codec.decode(Opening, data).query if data is not None else None
    return None if opened is None else (codec.decode(Query, opened.query.payload), opened)


def analyst_of(mirror: Mirror, members: Membership, leaf: int) -> Certified | None:
    """Whom the certificate of an opened query names; None where it is not opened."""
    found = opened_query(mirror, leaf)
    if found is None:
        return None
    (submitted_at,) = mirror.sql.execute("SELECT submitted_at FROM queries WHERE leaf = ?", (leaf,)).fetchone()
    return _certified(found[1].certificate, members.at(leaf).authority, submitted_at)


def _certified(certificate: bytes, authority: str, at: int) -> Certified:
    """Whom a certificate named at a time; one that was verified before is only held against its validity."""
    known = _VERIFIED.get((certificate, authority))
    if known is not None and known[0] <= at <= known[1]:
        return known[2]
    found = verify_certificate(certificate, authority, roles=frozenset({Role.ANALYST}), now=min(at, 2**37))
    read = x509.load_der_x509_certificate(certificate)
    first, last = read.not_valid_before_utc.timestamp(), read.not_valid_after_utc.timestamp()
    if len(_VERIFIED) > MOST_CERTIFICATES:
        _VERIFIED.clear()
    _VERIFIED[certificate, authority] = (first, last, found)
    return found


def _check(mirror: Mirror, members: Membership, opening: Opening, kind: str, query: int) -> None:
    found = parsed(mirror.leaf(opening.leaf_index))[1]
    _CHECKS[kind](mirror, members, opening, found, query)


def _check_query(_mirror: Mirror, members: Membership, opening: Opening, found: Any, _query: int) -> None:
    if opening.query is None:
        raise Untrusted("it holds no query")
    check_query(found, opening.query, members.at(opening.leaf_index).authority)


def check_query(leaf: Any, opened: OpenedQuery, authority: str) -> None:
    """Check that an opened query is the one that its leaf commits to, by a certified analyst.

    Args:
        leaf: the QuerySubmitted.
        authority: PEM certificate, of the manifest at the leaf.

    Raises:
        Untrusted: it is not.
        Malformed: it is none.
    """
    certified = _certified(opened.certificate, authority, leaf.submitted_at)
    if key_id(certified.key) != leaf.analyst_key_id:
        raise Untrusted("its certificate is for another key than the leaf's")
    if commitment(QUERY, opened.query.payload) != leaf.query_hash:
        raise Untrusted("it is not the query that the leaf commits to")
    if [signed.signature for signed in opened.query.signatures] != [leaf.analyst_signature]:
        raise Untrusted("it does not carry the signature that stands in the leaf, alone")
    envelope = opened.query
    message = pre_authentication_encoding(QUERY, envelope.payload)
    if envelope.payload_type != QUERY or not verifies(
        certified.key.public_bytes_raw(), leaf.analyst_signature, message
    ):
        raise Untrusted("its analyst has not signed it")
    query = _quickly_decoded(envelope.payload)
    terms, question = query.terms, query.question
    if (terms.rho, terms.attempts, terms.purpose, list(question.forces)) != (
        *(leaf.rho, leaf.attempts, leaf.purpose),
        list(leaf.forces),
    ):
        raise Untrusted("its rho, attempts, purpose or forces are not those of the leaf")


def _quickly_decoded(payload: bytes) -> query_pb2.Query:
    """A query that the codec would decode: nearly all of its time would go into the seeds, looked at here."""
    found = query_pb2.Query()
    try:
        found.ParseFromString(payload)
    except (DecodeError, ValueError, RecursionError):
        raise Malformed("it is no query") from None
    found.DiscardUnknownFields()
    if found.SerializeToString(deterministic=True) != payload or not (
        found.HasField("question") and found.HasField("terms")
    ):
        raise Malformed("it is no query in canonical form")
    if [seed.force for seed in found.terms.sealed_seeds] != list(found.question.forces):
        raise Malformed("the check seed is not sealed to each force of the question, in order")
    codec.decode(Question, found.question.SerializeToString(deterministic=True))
    terms = query_pb2.Terms()
    terms.CopyFrom(found.terms)
    terms.ClearField("sealed_seeds")
    codec.decode(Terms, terms.SerializeToString(deterministic=True))
    return found


def _check_text(_mirror: Mirror, _members: Membership, opening: Opening, found: Any, _query: int) -> None:
    text = opening.text
    if text is None or text_commitment(text.salt, text.text) != found.text_commitment:
        raise Untrusted("it is not the text that the decision commits to")


def _check_answer(mirror: Mirror, members: Membership, opening: Opening, found: Any, query: int) -> None:
    document = opening.document
    if document is None or commitment(ANSWER, document.payload) != found.answer_commitment:
        raise Untrusted("it is not the answer that the leaf commits to")
    analyst = analyst_of(mirror, members, query)
    if analyst is None:
        raise Untrusted("the answer is served, and the query that it answers is not")
    keys: dict[Digest, Ed25519PublicKey] = {key_id(analyst.key): analyst.key}
    open_envelope(document, ANSWER, keys)


def _check_manifest(_mirror: Mirror, _members: Membership, _opening: Opening, _found: Any, _query: int) -> None:
    raise Untrusted("a manifest is adopted when it is read")


_CHECKS: dict[str, Callable[[Mirror, Membership, Opening, Any, int], None]] = {
    "query": _check_query,
    "text": _check_text,
    "answer": _check_answer,
    "manifest": _check_manifest,
}
