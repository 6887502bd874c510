"""Between bytes and models: every model comes back, and nothing that is not its one encoding becomes a model."""

import dataclasses
import typing
from enum import IntEnum
from itertools import accumulate
from operator import mul

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from examples import person_contract, row_contract
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cordon.envelope import MOST_SIGNATURES, Envelope, KeySigner, Signature, from_json, to_json
from cordon.errors import Malformed, Unsupported, Untrusted
from cordon.query import model as questions
from cordon.query.model import (
    All,
    Grain,
    Grouping,
    Key,
    Measure,
    MeasureKind,
    Member,
    Predicate,
    Query,
    Question,
    Range,
    Some,
)
from cordon.query.sql import parse_sql
from cordon.register import leaf
from cordon.units import Digest, Rho
from cordon.wire import codec, messages, proofs
from cordon.wire.messages import Closed, Hello, Ready
from cordon.wire.signed import open_claimed, open_signed, sign

DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z")
FORCES = st.from_regex(r"\A[a-z][a-z0-9-]{0,8}\Z")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WHOLE = {
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: st.integers(-(2**63), 2**63 - 1),
}
MODELS = {
    name: kind
    for module in (questions, leaf, messages, proofs)
    for name, kind in vars(module).items()
    if name in codec._MESSAGES and dataclasses.is_dataclass(kind)
} | {"Envelope": Envelope, "Signature": Signature}
UNIONS = {union.message.DESCRIPTOR.name: kind for kind, union in codec._UNIONS.items()}
KINDS = MODELS | UNIONS

BOUNDS = st.none() | st.integers(-(2**53), 2**53)
ATOMS = (
    st.builds(Member, NAMES, st.sets(TEXT, min_size=1, max_size=3).map(lambda codes: tuple(sorted(codes))))
    | st.builds(Range, NAMES, BOUNDS, BOUNDS)
    | st.builds(questions.Missing, NAMES)
)


def parts(inner):
    """At least two predicates."""
    return st.lists(inner, min_size=2, max_size=3).map(tuple)


PREDICATES = st.recursive(
    ATOMS, lambda inner: parts(inner).map(All) | parts(inner).map(Some), max_leaves=6
)  # fmt: skip
WIDTHS = st.lists(st.integers(2, 9), min_size=1, max_size=6).map(lambda steps: tuple(accumulate(steps, mul)))
CENTRES = st.integers(-(2**53), 2**53)
FILTERS = st.none() | PREDICATES
MEASURES = st.one_of(
    st.builds(Measure, st.sampled_from([MeasureKind.COUNT, MeasureKind.COUNT_UNIT]), where=FILTERS),
    st.builds(Measure, st.just(MeasureKind.SUM), NAMES, where=FILTERS, centre=CENTRES),
    st.builds(
        Measure, st.just(MeasureKind.SQUARES), NAMES, where=FILTERS, centre=CENTRES, offset=st.integers(0, 2**62 - 1)
    ),
    st.builds(Measure, st.just(MeasureKind.HISTOGRAM), NAMES, where=FILTERS, widths=WIDTHS),
    st.sets(NAMES, min_size=2, max_size=2)
    .map(sorted)
    .flatmap(
        lambda pair: st.builds(
            Measure,
            st.just(MeasureKind.PRODUCTS),
            st.just(pair[0]),
            where=FILTERS,
            centre=CENTRES,
            other=st.just(pair[1]),
            other_centre=CENTRES,
        )
    ),
)
PLAIN_GRAINS = st.sampled_from([grain for grain in Grain if grain is not Grain.BIN])
ANY_KEY = st.builds(Key, NAMES, PLAIN_GRAINS) | st.builds(Key, NAMES, st.just(Grain.BIN), st.integers(1, 2**53))
GROUPINGS = st.sets(st.integers(0, 5), max_size=6).map(lambda keys: Grouping(tuple(sorted(keys))))


def groupings_of(keys):
    """Any tables by these keys that a question may ask for."""
    several = st.lists(
        st.sets(st.sampled_from(range(len(keys)))) if keys else st.just(set()), max_size=4, unique_by=tuple
    )
    made = several.map(lambda sets: tuple(dict.fromkeys(Grouping(tuple(sorted(one))) for one in sets)))
    every = Grouping(tuple(range(len(keys))))
    return st.just(()) | made.filter(
        lambda tables: {at for one in tables for at in one.keys} == set(every.keys)
    ).filter(lambda tables: tables != (every,))


QUESTIONS = st.lists(ANY_KEY, max_size=3, unique_by=lambda key: key.column).map(tuple).flatmap(
    lambda keys: st.builds(
        Question,
        NAMES,
        st.integers(0, 2**32 - 1),
        st.lists(MEASURES, min_size=1, max_size=3, unique=True).map(tuple),
        st.none() | PREDICATES,
        st.just(keys),
        st.sets(FORCES, min_size=1, max_size=4).map(lambda forces: tuple(sorted(forces, key=str.encode))),
        groupings_of(keys),
    )
)  # fmt: skip
ENVELOPES = st.builds(
    Envelope,
    TEXT,
    st.binary(max_size=20),
    st.lists(
        st.builds(Signature, DIGESTS, st.binary(min_size=64, max_size=64)), max_size=3, unique_by=lambda s: s.key_id
    ).map(tuple),
)
SPECIAL = {
    ("HeldContract", "load_id"): st.binary(min_size=16, max_size=16),
    ("Hello", "challenge"): st.binary(min_size=32, max_size=32),
    ("Text", "salt"): st.binary(min_size=32, max_size=32),
    ("Approval", "text"): st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=300),
    ("Vouch", "challenges"): st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple),
    ("Text", "text"): st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=300),
    ("Terms", "decide_by"): st.integers(0, 2**40 - 1),
    ("Terms", "expires"): st.integers(0, 2**40 - 1),
    ("Terms", "rho"): st.integers(0, 2**62 - 1).map(Rho),
    ("Signature", "signature"): st.binary(min_size=64, max_size=64),
}
"""Fields whose limits stand in the model, and not in the type."""


def asked(question):
    """Terms around a question, with a seed for each of its forces."""
    seeds = tuple(questions.SealedSeed(force, b"sealed") for force in question.forces)
    return of(questions.Terms).map(lambda terms: Query(question, dataclasses.replace(terms, sealed_seeds=seeds)))


def of(kind):
    """Any model of a kind."""
    whole = {
        Envelope: ENVELOPES, Question: QUESTIONS, Measure: MEASURES, Key: ANY_KEY, Grouping: GROUPINGS, Predicate: PREDICATES,
        All: parts(ATOMS).map(All), Some: parts(ATOMS).map(Some), Query: QUESTIONS.flatmap(asked),
        Member: ATOMS.filter(lambda atom: isinstance(atom, Member)), Range: st.builds(Range, NAMES, BOUNDS, BOUNDS),
    }  # fmt: skip
    if kind in whole:
        return whole[kind]
    if kind in codec._UNIONS:
        return st.one_of(*(st.binary(max_size=9) if k is bytes else of(k) for k in typing.get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return st.sampled_from(kind)
    hints = typing.get_type_hints(kind)
    descriptor = codec._MESSAGES[kind.__name__].DESCRIPTOR
    return st.builds(
        kind,
        **{field.name: field_of(kind, field.name, hints[field.name], descriptor) for field in dataclasses.fields(kind)},
    )


def field_of(kind, name, hint, descriptor):
    """Any value of one field of a model."""
    if (kind.__name__, name) in SPECIAL:
        return SPECIAL[kind.__name__, name]
    if typing.get_origin(hint) is tuple:
        return st.lists(field_of(kind, name, typing.get_args(hint)[0], descriptor), max_size=3).map(tuple)
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if members and hint not in codec._UNIONS:
        return st.none() | of(members[0])
    plain = {Digest: DIGESTS, str: TEXT, bytes: st.binary(max_size=12), bool: st.booleans()}
    if hint in plain:
        return plain[hint]
    if hint in (int, Rho):
        numbers = WHOLE[descriptor.fields_by_name[name].type]
        return numbers if hint is int else numbers.map(abs).filter(lambda n: n < 2**63).map(Rho)
    return of(hint)


def messages_within(message: Message):
    """A message and every message inside it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                yield from messages_within(inner)


def parsed(kind, model) -> Message:
    """What a model is as a protobuf message."""
    message = codec._new(kind)
    message.ParseFromString(codec.encode(model, kind))
    return message


each_kind = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in sorted(KINDS.items())])
each_kind_with_fields = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, id=name) for name, kind in sorted(KINDS.items()) if codec._MESSAGES[name].DESCRIPTOR.fields],
)
few = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Some seventy messages share most of their fields' types, so six of each are hundreds of every type."""


def test_every_message_has_a_strategy():
    """No message of the protocol is left out below."""
    assert set(KINDS) == set(codec._MESSAGES)


@each_kind
@few
@given(data=st.data())
def test_models_come_back(kind, data):
    """Encoding and decoding give the same model, whatever stands in it."""
    model = data.draw(of(kind))
    assert codec.decode(kind, codec.encode(model, kind)) == model


@each_kind
@few
@given(data=st.data())
def test_an_unknown_field_is_refused_at_any_depth(kind, data):
    """A field of a later version is never dropped silently."""
    message = parsed(kind, data.draw(of(kind)))
    data.draw(st.sampled_from(list(messages_within(message)))).MergeFromString(b"\xf8\x3f\x01")
    with pytest.raises(Unsupported):
        codec.decode(kind, message.SerializeToString(deterministic=True))


@each_kind_with_fields
@few
@given(data=st.data())
def test_a_truncated_message_is_malformed_or_another_one(kind, data):
    """What is left of an encoding is refused, unless it is itself the encoding of what it decodes to."""
    encoded = codec.encode(data.draw(of(kind)), kind)
    assume(encoded)
    read_or_refused(kind, encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@each_kind
@few
@given(noise=st.binary(max_size=60))
def test_bytes_at_random_are_refused_or_read_as_they_are(kind, noise):
    """Nothing but Malformed, of which Unsupported is one, comes out of any bytes."""
    read_or_refused(kind, noise)


@each_kind_with_fields
@few
@given(data=st.data())
def test_a_changed_byte_is_refused_or_read_as_it_is(kind, data):
    """Two encodings never decode to one model."""
    encoded = bytearray(codec.encode(data.draw(of(kind)), kind))
    assume(encoded)
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    read_or_refused(kind, bytes(encoded))


@pytest.mark.slow
@each_kind_with_fields
@settings(few, max_examples=100)
@given(data=st.data(), noise=st.binary(max_size=60))
def test_what_is_above_holds_of_a_hundred_messages_of_each_kind(kind, data, noise):
    """The same five, at length."""
    test_models_come_back.hypothesis.inner_test(kind, data)
    test_an_unknown_field_is_refused_at_any_depth.hypothesis.inner_test(kind, data)
    test_a_truncated_message_is_malformed_or_another_one.hypothesis.inner_test(kind, data)
    test_a_changed_byte_is_refused_or_read_as_it_is.hypothesis.inner_test(kind, data)
    test_bytes_at_random_are_refused_or_read_as_they_are.hypothesis.inner_test(kind, noise)


def read_or_refused(kind, encoded):
    """Decode; what is not refused must encode to the same bytes again."""
    try:
        model = codec.decode(kind, encoded)
    except Malformed:
        return
    assert codec.encode(model, kind) == encoded


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (name, field.name)
        for name, kind in sorted(MODELS.items())
        for field in codec._MESSAGES[name].DESCRIPTOR.fields
        if field.enum_type is not None
    ],
)
@few
@given(data=st.data())
def test_an_unknown_enum_value_is_unsupported(kind, field, data):
    """A value of a later version is named as such, and never read as another."""
    message = parsed(MODELS[kind], data.draw(of(MODELS[kind])))
    setattr(message, field, 99)
    with pytest.raises(Unsupported, match="99 is not known"):
        codec.decode(MODELS[kind], message.SerializeToString(deterministic=True))


@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in sorted(UNIONS.items())])
def test_a_choice_without_a_known_member_is_unsupported(kind):
    """An empty choice is what a later version's member looks like."""
    with pytest.raises(Unsupported, match="empty, or of a kind"):
        codec.decode(kind, b"")


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        (b"\x0a\x20" + bytes(31), "cannot be parsed"),
        (b"\x0a\x1f" + bytes(31), "32 bytes"),
        (b"", "32 bytes"),
        (b"\x0a\x20" + bytes(32) + b"\x0a\x20" + bytes(32), "canonical"),
        (b"\x0a\xa0\x00" + bytes(32), "canonical"),
        (b"\x1a\x00\x0a\x20" + bytes(32), "does not know"),
    ],
    ids=["cut", "short digest", "no digest", "twice", "long varint", "unknown field"],
)
def test_a_digest_message_has_one_encoding(encoded, why):
    """Of everything that protobuf would read as one Closed message, one form is accepted."""
    assert codec.decode(Closed, b"\x0a\x20" + bytes(32)) == Closed(Digest(bytes(32)))
    with pytest.raises(Malformed, match=why):
        codec.decode(Closed, encoded)


def test_deep_nesting_is_malformed_and_never_a_crash():
    """A predicate nested ten thousand deep ends in a refusal."""
    inner = b""
    for _ in range(10_000):
        head = len(inner)
        length = bytearray()
        while head >= 0x80:
            length.append(head & 0x7F | 0x80)
            head >>= 7
        inner = b"\x22" + bytes(length) + bytes([head]) + inner
    with pytest.raises(Malformed):
        codec.decode(Predicate, inner)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) FROM events",
        "SELECT force, COUNT(DISTINCT person), SUM(loss) FROM persons WHERE NOT (role = 'victim' OR loss > 10) GROUP BY 1",
        "SELECT MONTH(day), COUNT(*) FROM persons WHERE loss NOT BETWEEN -3 AND 4.5 AND day >= '2025-03' GROUP BY MONTH(day)",
        "SELECT role, COUNT(*) FROM persons WHERE force NOT IN ('kent') AND day <> '2025-03-01' GROUP BY role",
    ],
)
def test_a_question_survives_from_sql_over_the_wire(sql):
    """What a node decodes is what the analyst's statement was read as."""
    contracts = {"events": row_contract(), "persons": person_contract()}
    question = parse_sql(sql, contracts, ("essex", "kent")).question
    assert codec.decode(Question, codec.encode(question)) == question


# Envelopes

FIRST, SECOND = (KeySigner(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2))
KEYS = {signer.key_id: signer._private.public_key() for signer in (FIRST, SECOND)}
REJECTED = leaf.Rejected(Digest(bytes(32)), 1, Digest(b"\x01" * 32))


def test_a_second_signature_is_refused():
    """One signer is all that a payload has, even where both signatures hold."""
    assert open_signed(leaf.Rejected, sign(REJECTED, FIRST), KEYS) == REJECTED
    assert open_claimed(leaf.Rejected, sign(REJECTED, FIRST), lambda _: KEYS) == REJECTED
    both = sign(REJECTED, FIRST, SECOND)
    with pytest.raises(Untrusted, match="2 signatures"):
        open_signed(leaf.Rejected, both, KEYS)
    with pytest.raises(Untrusted, match="2 signatures"):
        open_claimed(leaf.Rejected, both, lambda _: KEYS)


def test_nobody_else_and_nothing_else_opens():
    """No signature, a stranger's, another's and a payload of another type are refused."""
    unsigned = dataclasses.replace(sign(REJECTED, FIRST), signatures=())
    with pytest.raises(Untrusted):
        open_signed(leaf.Rejected, unsigned, KEYS)
    with pytest.raises(Untrusted):
        open_signed(leaf.Rejected, sign(REJECTED, FIRST), {SECOND.key_id: KEYS[SECOND.key_id]})
    with pytest.raises(Untrusted, match="expected a payload of type"):
        open_signed(Ready, sign(REJECTED, FIRST), KEYS)
    with pytest.raises(Malformed, match="does not belong here"):
        open_claimed(Hello, sign(REJECTED, FIRST), lambda _: KEYS)


def signature(number, length=64):
    """A signature by a key of its own."""
    return Signature(Digest(bytes([number]) * 32), bytes(length))


@pytest.mark.parametrize(
    "signatures",
    [
        (signature(1), signature(1)),
        (signature(1, 63),),
        (signature(1, 65),),
        (signature(1, 0),),
        tuple(signature(n) for n in range(MOST_SIGNATURES + 1)),
    ],
    ids=["one key twice", "short", "long", "empty", "too many"],
)
def test_an_envelope_holds_no_signature_that_cannot_mean_something(signatures):
    """A doubled key, a wrong length and too many signatures are malformed, over the wire and in JSON."""
    full = Envelope("type", b"payload", tuple(signature(n) for n in range(MOST_SIGNATURES)))
    assert codec.decode_envelope(codec.encode_envelope(full)) == full
    with pytest.raises(Malformed):
        Envelope("type", b"payload", signatures)
    smuggled = Envelope("type", b"payload", ())
    object.__setattr__(smuggled, "signatures", signatures)
    with pytest.raises(Malformed):
        codec.decode_envelope(codec.encode_envelope(smuggled))
    with pytest.raises(Malformed):
        from_json(to_json(smuggled))
