"""Attacks by whoever sends a query: forged, altered, replayed, re-targeted, with another seed for one force.

Every node checks each of these by itself, whatever the coordinator let through.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from members import Analyst

import node.gate as gate_module
from cordon import envelope as kinds
from cordon.envelope import KeySigner, seal
from cordon.errors import Malformed, QuestionRefused, Refused, Unsupported, Untrusted
from cordon.identity import Identity, Role, certify, new_authority
from cordon.query.plan import SMALL
from cordon.register.leaf import Decision, Outcome
from cordon.sealing import check, keystream
from cordon.sealing.check import TAGS
from cordon.sealing.seed import seal_context, seal_seed
from cordon.units import Digest, Rho
from cordon.wire import codec
from cordon.wire.messages import Decide, NodeAnswer, Prepare, Submission
from cordon.wire.signed import open_signed, question_digest, sign

FORCE = "essex"


@pytest.fixture
def analyst(members):
    """Alice."""
    return Analyst(members)


def decision_of(members, envelope, certificate, attempt=1):
    """What one force decides about a query, with the words of it."""
    answer = members.members[FORCE].tasks.decide(Decide(envelope, certificate, attempt))
    decision = open_signed(Decision, answer.decision, members.manifest.keyring(FORCE))
    return decision, answer.text.text, answer.ready


def refused_by_the_node(members, envelope, certificate, code, words, *, recorded=False):
    """The node declines with this code, reserves nothing, and says nothing of a record."""
    before = members.members[FORCE].ledger.history()
    decision, text, ready = decision_of(members, envelope, certificate)

    assert decision.outcome is Outcome.DECLINED
    assert decision.code.words == code
    assert words in text
    assert ready is None
    assert members.members[FORCE].ledger.sequence == 0
    assert members.members[FORCE].ledger._reserved == {}
    assert (len(members.members[FORCE].ledger.history()) - len(before)) == recorded


def refused_by_the_coordinator(members, submit, kind, words):
    """The coordinator raises a typed error, and its register and queries stay as they are."""
    leaves = members.store.register.leaves()
    with pytest.raises(kind, match=words):
        submit()
    assert members.store.register.leaves() == leaves
    assert members.store.open_queries() == []


def test_an_unsigned_query_is_refused(members, analyst):
    """A query without signatures is nobody's."""
    composed = analyst.compose()
    bare = replace(composed.envelope, signatures=())

    refused_by_the_node(members, bare, analyst.certificate, "untrusted", "signed by 0 of the keys")
    refused_by_the_coordinator(members, lambda: analyst.submit(bare, composed.public_key), Untrusted, "signed by 0")


def test_an_altered_query_is_refused(members, analyst):
    """One changed byte of the payload, and the signature does not verify."""
    composed = analyst.compose()
    altered = replace(composed.envelope, payload=composed.envelope.payload.replace(b"role", b"rule"))

    refused_by_the_node(members, altered, analyst.certificate, "untrusted", "does not verify")
    refused_by_the_coordinator(members, lambda: analyst.submit(altered, composed.public_key), Untrusted, "verify")


def test_an_altered_query_is_answered_where_signatures_are_not_checked(members, analyst, monkeypatch):
    """Without the signature the coordinator could ask what it likes in the analyst's name."""
    composed = analyst.compose()
    query = composed.query
    doubled = replace(query, terms=replace(query.terms, attempts=2))
    forged = replace(composed.envelope, payload=codec.encode(doubled))
    monkeypatch.setattr(gate_module, "open_signed", lambda kind, envelope, _keys: codec.decode(kind, envelope.payload))

    decision, _, ready = decision_of(members, forged, analyst.certificate)

    assert decision.outcome is Outcome.ADMITTED
    assert ready is not None


@pytest.mark.parametrize("role", [Role.FORCE, Role.AUDITOR, Role.COORDINATOR])
def test_a_query_signed_in_another_role_is_refused(members, analyst, role):
    """The authority certified the key, but not as an analyst's."""
    authority_key, authority = _own_authority(members)
    key = Ed25519PrivateKey.generate()
    certificate = certify(Identity(role, "kent"), key.public_key(), authority=authority, private=authority_key)
    envelope = sign(analyst.compose().query, KeySigner(key))

    refused_by_the_node(
        members, envelope, certificate.public_bytes(Encoding.DER), "untrusted", "it takes the role analyst"
    )


def test_a_query_by_a_stranger_is_refused(members, analyst):
    """The right role, certified by an authority of the attacker's own."""
    private = ec.generate_private_key(ec.SECP256R1())
    authority, key = new_authority("Demonstration", private), Ed25519PrivateKey.generate()
    certificate = certify(analyst.identity, key.public_key(), authority=authority, private=private)
    envelope = sign(analyst.compose().query, KeySigner(key))

    refused_by_the_node(members, envelope, certificate.public_bytes(Encoding.DER), "untrusted", "was not issued by")


def _own_authority(members):
    """An authority in the manifest's place: the test needs its key, which the layout does not keep."""
    private = ec.generate_private_key(ec.SECP256R1())
    authority = new_authority("Demonstration", private)
    gate = members.members[FORCE].gate
    pem = authority.public_bytes(Encoding.PEM).decode()
    object.__setattr__(gate, "manifest", gate.manifest.model_copy(update={"authority": pem}))
    return private, authority


def test_an_analysts_query_submitted_by_another_is_refused(members, analyst):
    """Bob cannot submit what Alice has signed, and so cannot follow it."""
    composed = analyst.compose()
    bob = Identity(Role.ANALYST, "bob")
    submission = Submission(composed.envelope, analyst.certificate, composed.public_key, wait=False)

    refused_by_the_coordinator(
        members, lambda: members.run(members.queries.submit(submission, bob)), Untrusted, "cannot submit"
    )


@pytest.mark.parametrize("kind", [kinds.READY, kinds.RECEIPT, kinds.MANIFEST, kinds.DECISION])
def test_a_payload_signed_as_another_type_is_no_query(members, analyst, kind):
    """The payload type is signed with the payload, so what was signed for one use serves no other."""
    payload = codec.encode(analyst.compose().query)
    other = seal(kind, payload, analyst.signer)

    refused_by_the_node(members, other, analyst.certificate, "untrusted", "expected a payload of type")
    relabelled = replace(other, payload_type=kinds.QUERY)
    refused_by_the_node(members, relabelled, analyst.certificate, "untrusted", "does not verify")


@pytest.mark.parametrize(
    "extra",
    [b"\x9a\x06\x01x", b"\xf8\x06\x01"],
    ids=["unknown bytes field 99", "unknown varint field 111"],
)
def test_an_unknown_field_in_a_signed_query_is_refused(members, analyst, extra):
    """An old node would drop it silently, and answer another question under a valid signature."""
    payload = codec.encode(analyst.compose().query) + extra
    envelope = seal(kinds.QUERY, payload, analyst.signer)

    refused_by_the_node(members, envelope, analyst.certificate, "unsupported", "does not know")
    refused_by_the_coordinator(members, lambda: analyst.submit(envelope, b""), Unsupported, "does not know")


def test_an_unknown_field_is_dropped_silently_by_protobuf_itself(analyst):
    """What the codec defends against: the plain parser accepts the message and forgets the field."""
    from cordon.wire.v1 import query_pb2

    payload = codec.encode(analyst.compose().query)
    message = query_pb2.Query()
    message.ParseFromString(payload + b"\x9a\x06\x01x")
    message.DiscardUnknownFields()

    assert message.SerializeToString(deterministic=True) == payload


def test_an_unknown_measure_in_a_signed_query_is_refused(members, analyst):
    """proto3 enums are open: a kind of measure from the future must not be read as another."""
    from cordon.wire.v1 import query_pb2

    message = query_pb2.Query()
    message.ParseFromString(codec.encode(analyst.compose().query))
    message.question.measures[0].kind = 77  # type: ignore[assignment]
    envelope = seal(kinds.QUERY, message.SerializeToString(deterministic=True), analyst.signer)

    refused_by_the_node(members, envelope, analyst.certificate, "unsupported", "MeasureKind 77 is not known")


def test_an_expired_query_is_refused(members, analyst):
    """The coordinator kept it back until after its expiry."""
    composed = analyst.compose(now=members.now - 10_000)

    refused_by_the_node(members, composed.envelope, analyst.certificate, "expired", "has expired", recorded=True)


def test_a_query_that_would_live_too_long_is_refused(members, analyst):
    """Reservations and bytes are kept until expiry, so expiry has a bound."""
    query = analyst.compose().query
    far = replace(query, terms=replace(query.terms, expires=int(members.now) + 10**9))

    refused_by_the_node(members, analyst.signed(far), analyst.certificate, "question", "too far ahead", recorded=True)


def test_a_replayed_query_is_answered_with_the_same_decision_and_charged_once(members, analyst):
    """The same signed query again is the same query: no second contribution for the same attempt."""
    composed = analyst.compose()
    members.ask()
    query = members.store._queries("")[0]
    member = members.members[FORCE]
    stored = member.ledger.decision(query.query_hash)
    charged = member.ledger.sequence

    again = member.tasks.decide(Decide(stored.envelope, stored.certificate, 1))
    prepared = member.tasks.prepare(Prepare(query.query_hash, 1))

    assert again.decision == codec.decode(NodeAnswer, stored.answer).decision
    assert again.ready is None
    assert prepared.ready is None
    assert member.ledger.sequence == charged
    assert composed.query_hash != query.query_hash


def test_a_query_re_targeted_to_another_manifest_is_refused(members, analyst):
    """It names a manifest version that this force has not accepted."""
    query = analyst.compose().query
    other = replace(query, terms=replace(query.terms, manifest_version=2))

    refused_by_the_node(
        members, analyst.signed(other), analyst.certificate, "manifest", "manifest version 2", recorded=True
    )


def test_a_query_that_does_not_name_the_force_is_refused(members, analyst):
    """The coordinator sends it to a force that the analyst did not ask."""
    envelope = analyst.compose("SELECT COUNT(*) FROM nominals WHERE force <> 'essex'").envelope

    refused_by_the_node(members, envelope, analyst.certificate, "question", "does not name this force", recorded=True)


def test_a_purpose_that_the_manifest_does_not_list_is_refused(members, analyst):
    """Whatever the client allows, each force looks the purpose up."""
    query = analyst.compose().query
    other = replace(query, terms=replace(query.terms, purpose="curiosity"))

    refused_by_the_node(members, analyst.signed(other), analyst.certificate, "question", "purpose", recorded=True)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"rho": Rho(10**9)}, "the federation allows epsilon"),
        ({"attempts": 9}, "the federation allows epsilon"),
        ({"attempts": 0}, "the federation allows epsilon"),
        ({"block_rho": (Rho(10**6),)}, "do not add up"),
        ({"nonce": b"short"}, "32 bytes"),
        ({"parameter_set": "wide"}, "takes the parameter set small"),
        ({"parameter_set": "mine"}, "takes the parameter set small"),
    ],
)
def test_terms_that_do_not_fit_are_refused(members, analyst, terms, words):
    """Cost over the limit, blocks that spend more than is signed, another parameter set than the plan's."""
    query = analyst.compose().query
    other = analyst.signed(replace(query, terms=replace(query.terms, **terms)))

    refused_by_the_node(members, other, analyst.certificate, "question", words, recorded=True)


def test_blocks_that_overspend_would_be_noised_too_little(members, analyst):
    """What the sum check defends: a block with ten times the rho has √10 less noise for the same charge."""
    composed = analyst.compose()
    block = composed.plan.blocks[0]
    overspent = replace(block, rho=block.rho * 10)

    assert overspent.share(5, 1) / overspent.scale < block.share(5, 1) / block.scale / 3


# One force is given another seed


def with_another_seed(members, analyst, composed, seed):
    """The same query, in which FORCE's check seed is another than all others'."""
    terms, question = composed.query.terms, composed.query.question
    context = seal_context(
        force=FORCE, analyst_key_id=analyst.signer.key_id, question=question_digest(question), nonce=terms.nonce,
        bfv_key_hash=terms.bfv_key_hash, seed=terms.seed_hash,
    )  # fmt: skip
    seeds = tuple(
        replace(item, sealed=seal_seed(seed, members.manifest.seal_key(FORCE), context))
        if item.force == FORCE
        else item
        for item in terms.sealed_seeds
    )
    return replace(composed.query, terms=replace(terms, sealed_seeds=seeds))


def test_another_seed_for_one_force_is_refused(members, analyst):
    """The node compares its seed with the hash that was signed for all forces."""
    composed = analyst.compose()
    other = with_another_seed(members, analyst, composed, os.urandom(32))

    refused_by_the_node(
        members, analyst.signed(other), analyst.certificate, "untrusted", "differs from the one", recorded=True
    )


def test_another_seed_for_one_force_gives_its_own_cells_away_where_it_is_accepted():
    """The tags of the sum then differ by two linear functions of that force's own cells: recovered exactly."""
    t, transcript = SMALL.modulus, Digest(os.urandom(32))
    common, special = os.urandom(32), os.urandom(32)
    victim = [17, 4711]
    others = [[5, 6], [70, 80]]
    vectors = [check.with_check_cells(keystream.residues(c, t), common, transcript, t) for c in others]
    vectors.append(check.with_check_cells(keystream.residues(victim, t), special, transcript, t))
    total = [int(sum(int(v[at]) for v in vectors)) % t for at in range(len(vectors[0]))]

    def weights(seed, tag):
        unit = [np.zeros(3, np.uint64) for _ in range(3)]
        for at in range(3):
            unit[at][at] = 1
        return [check._tag(u, tag, seed, transcript, t) for u in unit]

    equations, results = [], []
    for tag in range(TAGS):
        w_common, w_special = weights(common, tag), weights(special, tag)
        expected = sum(w * y for w, y in zip(w_common, [*total[:2], 3], strict=True)) % t
        difference = (total[3 + tag] - expected) % t
        row = [(s - c) % t for s, c in zip(w_special, w_common, strict=True)]
        equations.append(row[:2])
        results.append((difference - row[2]) % t)
    (a, b), (c, d) = equations
    inverse = pow(a * d - b * c, -1, t)
    found = [(results[0] * d - b * results[1]) * inverse % t, (a * results[1] - results[0] * c) * inverse % t]

    assert found == victim


def test_a_seed_sealed_to_another_force_is_refused(members, analyst):
    """The coordinator hands Kent's sealed seed to Essex: it is bound to the force, the query and its key."""
    query = analyst.compose().query
    kent = next(item.sealed for item in query.terms.sealed_seeds if item.force == "kent")
    seeds = tuple(replace(item, sealed=kent) if item.force == FORCE else item for item in query.terms.sealed_seeds)
    other = analyst.signed(replace(query, terms=replace(query.terms, sealed_seeds=seeds)))

    refused_by_the_node(members, other, analyst.certificate, "untrusted", "was not sealed to this force", recorded=True)


def test_a_seed_replayed_from_another_query_is_refused(members, analyst):
    """Nonce, question and BFV key are part of what the seed is sealed for."""
    first, second = analyst.compose().query, analyst.compose().query
    terms = replace(second.terms, sealed_seeds=first.terms.sealed_seeds, seed_hash=first.terms.seed_hash)

    refused_by_the_node(
        members, analyst.signed(replace(second, terms=terms)), analyst.certificate, "untrusted",
        "was not sealed to this force", recorded=True,
    )  # fmt: skip


def test_swapped_public_key_is_refused_by_the_coordinator_too(members, analyst):
    """The key beside the query must hash to what the terms name."""
    composed = analyst.compose()
    refused_by_the_coordinator(
        members, lambda: analyst.submit(composed.envelope, composed.public_key[:-1] + b"\0\0"), Malformed, "public key"
    )


# Questions that would single a force out


def test_two_forces_cannot_be_asked_alone(members):
    """Each could read the other's value off the sum."""
    with pytest.raises(QuestionRefused, match="two forces"):
        members.ask("SELECT COUNT(*) FROM nominals WHERE force IN ('essex', 'kent')")


def test_two_forces_are_refused_by_the_node_whatever_the_client_does(members, analyst, monkeypatch):
    """A client without that check gets a signed decline."""
    import cordon.analyst.compose as compose_module
    from cordon.query.plan import make_plan

    def unchecked(question, shares, contract, manifest):
        return make_plan(question, shares, contract, colluders=manifest.colluders, most_cells=manifest.limits.cells)

    monkeypatch.setattr(compose_module, "plan_question", unchecked)
    monkeypatch.setattr(compose_module, "_check_forces", lambda question: None)
    composed = analyst.compose("SELECT COUNT(*) FROM nominals WHERE force IN ('essex', 'kent')")

    refused_by_the_node(
        members, composed.envelope, analyst.certificate, "policy", "rosters of 3 or more", recorded=True
    )


@pytest.mark.parametrize("epsilon", ["0", "-1", "1000"])
def test_epsilon_out_of_range_is_refused_before_anything_is_sent(members, epsilon):
    """Zero, negative, or over the federation's limit."""
    leaves = members.store.register.leaves()
    with pytest.raises(QuestionRefused, match="epsilon"):
        members.ask(epsilon=epsilon)
    assert members.store.register.leaves() == leaves


def test_an_analyst_cannot_open_more_queries_than_allowed(members, analyst):
    """The coordinator stops counting somebody's open queries at the manifest's limit, and so does each node."""
    members.silent = set(members.members)
    most = members.manifest.limits.open_queries
    for _ in range(most):
        composed = analyst.compose(epsilon="1/100")
        analyst.submit(composed.envelope, composed.public_key)
    one_more = analyst.compose(epsilon="1/100")

    with pytest.raises(Refused, match="open queries"):
        analyst.submit(one_more.envelope, one_more.public_key)


def test_a_query_that_is_not_protobuf_is_refused(members, analyst):
    """Signed, but not a query at all."""
    for payload in (b"", b"\xff" * 40, os.urandom(200)):
        envelope = seal(kinds.QUERY, payload, analyst.signer)
        decision, _, ready = decision_of(members, envelope, analyst.certificate)

        assert decision.outcome is Outcome.DECLINED
        assert ready is None
