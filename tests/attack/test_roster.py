"""Attacks by whoever makes up the roster: invented, copied or swapped keys, other notes, two rosters.

Each is refused before anything is charged; twins take the defence out and show what the attacker gains.
"""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

import node.contribute as contribute_module
from cordon.envelope import KeySigner
from cordon.errors import CordonError, QueryFailed, Untrusted
from cordon.keyfile import read_signing_key
from cordon.query.plan import SMALL
from cordon.register.leaf import Decision, DeclineCode, Receipt
from cordon.sealing import keystream, masks
from cordon.sealing.bfv import Opener
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.codec import encode_envelope
from cordon.wire.messages import Fixed, NodeAnswer, Prepare, Ready
from cordon.wire.signed import open_signed, peek, sign

VICTIM = "essex"


def ask_until_fixed(members, change, **asking):
    """Ask; the victim's Fixed task passes through `change`, and what the victim answers is returned."""
    answers = []

    def on_task(force, task):
        return change(task) if isinstance(task, Fixed) and force == VICTIM else task

    def on_answer(force, answer):
        if force == VICTIM and answer.decision is not None:
            answers.append(open_signed(Decision, answer.decision, members.manifest.keyring(VICTIM)))
        return answer

    members.on_task, members.on_answer = on_task, on_answer
    ended = members.ask(attempts=1, **asking)
    return ended, answers


def declined_without_trace(members, change, *, reason):
    """The victim declines the roster, and nothing is charged or sent for it."""
    texts = []
    original = members.members[VICTIM].tasks._signed

    def signed(query_hash, attempt, outcome, code, text):
        texts.append((code, text))
        return original(query_hash, attempt, outcome, code, text)

    members.members[VICTIM].tasks._signed = signed
    before = members.members[VICTIM].ledger.sequence
    with pytest.raises(QueryFailed):
        ask_until_fixed(members, change)

    assert texts[-1][0] is DeclineCode.ROSTER
    assert reason in texts[-1][1]
    assert members.members[VICTIM].ledger.sequence == before
    assert members.members[VICTIM].sent == {}


def signer_of(members, force):
    """A force's own key: what a malicious force may do with its notes."""
    return KeySigner(read_signing_key(members.members[force].config.signing_key))


def with_note(fixed, members, force, **changes):
    """A roster in which `force` itself signed another note."""
    notes = list(fixed.roster)
    for at, envelope in enumerate(notes):
        note = peek(Ready, envelope)
        if note.force == force:
            notes[at] = sign(replace(note, **changes), signer_of(members, force))
    return replace(fixed, roster=tuple(notes))


def key_of(fixed, force):
    """A force's ephemeral key in a roster."""
    return next(note.ephemeral_key for note in (peek(Ready, e) for e in fixed.roster) if note.force == force)


def test_a_force_that_copies_anothers_ephemeral_key_is_refused(members):
    """Kent uses Norfolk's key: its masks with everybody would cancel Norfolk's."""
    declined_without_trace(
        members,
        lambda fixed: with_note(fixed, members, "kent", ephemeral_key=key_of(fixed, "norfolk")),
        reason="the same as that of",
    )


def test_a_copied_key_cancels_masks_where_it_is_accepted():
    """Sorted on either side of the victim, two equal keys give masks that add up to zero."""
    transcript = Digest(bytes(32))
    victim, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    shared = other.public_key().public_bytes_raw()
    keys = {"a": shared, "m": victim.public_key().public_bytes_raw(), "z": shared}
    vector = keystream.residues(list(range(20)), SMALL.modulus)
    pairs = masks.agree("m", victim, keys, transcript=transcript, modulus=SMALL.modulus, length=20)
    honest = {peer: key for peer, key in pairs.items() if peer == "a"}

    # The derivation names both forces and keys, so even an accepted copy leaves different streams …
    assert pairs["a"] != pairs["z"]
    # … and what the distinctness check defends is a derivation that does not: one stream, added and taken off.
    same = {"a": honest["a"], "z": honest["a"]}
    assert masks.mask(vector, "m", same, SMALL.modulus).tolist() == vector.tolist()
    with pytest.raises(Untrusted, match="the same as"):
        masks.check_ephemeral_keys(keys)


def test_a_key_with_bit_255_set_is_refused(members):
    """A second encoding of Norfolk's point would hide that Kent copied it."""

    def change(fixed):
        copied = bytearray(key_of(fixed, "norfolk"))
        copied[31] |= 0x80
        return with_note(fixed, members, "kent", ephemeral_key=bytes(copied))

    declined_without_trace(members, change, reason="not a canonical X25519 key")


def test_bit_255_gives_the_same_shared_secret_where_it_is_accepted():
    """X25519 ignores the bit, so without the check the copy is as good as the original."""
    victim, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    plain = other.public_key().public_bytes_raw()
    hidden = plain[:31] + bytes([plain[31] | 0x80])
    assert hidden != plain
    assert victim.exchange(X25519PublicKey.from_public_bytes(hidden)) == victim.exchange(
        X25519PublicKey.from_public_bytes(plain)
    )


@pytest.mark.parametrize("key", [2**255 - 19, 2**255 - 18, 2**255 - 1], ids=["p", "p+1", "largest"])
def test_a_key_at_or_above_the_prime_is_refused(members, key):
    """Encodings at or above p name a point a second time."""
    declined_without_trace(
        members,
        lambda fixed: with_note(fixed, members, "kent", ephemeral_key=key.to_bytes(32, "little")),
        reason="not a canonical X25519 key",
    )


@pytest.mark.parametrize("key", [0, 1, 325606250916557431795983626356110631294008115727848805560023387167927233504])
def test_a_key_of_low_order_is_refused(members, key):
    """With such a key the exchange has no secret, and anybody could take the mask off."""
    declined_without_trace(
        members,
        lambda fixed: with_note(fixed, members, "kent", ephemeral_key=key.to_bytes(32, "little")),
        reason="low order",
    )


def test_notes_that_the_coordinator_signs_itself_are_refused(members):
    """The coordinator swaps every other key for one of its own, to take all masks off the victim."""
    own = KeySigner(read_signing_key(members.layout.coordinator_config.parent / "signing.key"))

    def change(fixed):
        notes = [
            envelope if peek(Ready, envelope).force == VICTIM
            else sign(replace(peek(Ready, envelope), ephemeral_key=fresh_key()), own)
            for envelope in fixed.roster
        ]  # fmt: skip
        return replace(fixed, roster=tuple(notes))

    declined_without_trace(members, change, reason="signed by 0 of the keys that count")


def fresh_key():
    """An ephemeral key of the attacker's own."""
    return X25519PrivateKey.generate().public_key().public_bytes_raw()


def test_swapped_keys_lay_the_victim_bare_where_signatures_are_not_checked(members, monkeypatch):
    """Without the notes' signatures the coordinator takes the masks off and is left with ciphertext alone."""
    mine, seen = {}, {}

    def change(fixed):
        notes = []
        seen["victim"] = key_of(fixed, VICTIM)
        for envelope in fixed.roster:
            note = peek(Ready, envelope)
            if note.force != VICTIM:
                mine[note.force] = X25519PrivateKey.generate()
                public = mine[note.force].public_key().public_bytes_raw()
                notes.append(replace(envelope, payload=_encoded(replace(note, ephemeral_key=public))))
            else:
                notes.append(envelope)
        return replace(fixed, roster=tuple(notes))

    def sealed(prepared, roster, cells, force):
        seen["roster"] = roster
        return original(prepared, roster, cells, force)

    original = contribute_module._sealed_vector
    vectors = []
    mask = contribute_module.mask
    monkeypatch.setattr(contribute_module, "_verified", lambda envelope, _manifest: peek(Ready, envelope))
    monkeypatch.setattr(contribute_module, "_sealed_vector", sealed)
    monkeypatch.setattr(
        contribute_module, "mask", lambda *args: vectors.append((args[0], mask(*args))) or vectors[-1][1]
    )

    class Stop(Exception):
        pass

    members.on_contribution = lambda force, made: (_ for _ in ()).throw(Stop) if force == VICTIM else made
    with pytest.raises(Stop):
        ask_until_fixed(members, change)

    plain, masked = vectors[-1]
    for force, private in mine.items():
        keys = {force: private.public_key().public_bytes_raw(), VICTIM: seen["victim"]}
        pairs = masks.agree(
            force, private, keys, transcript=seen["roster"].transcript, modulus=SMALL.modulus, length=len(plain)
        )
        masked = masks.mask(masked, force, pairs, SMALL.modulus)
    assert np.array_equal(masked, plain)


def _encoded(model):
    return codec.encode(model)


def test_a_roster_outside_the_question_is_refused(members):
    """The question names four forces; a fifth member's genuine note is slipped in."""
    declined_without_trace_for(
        members, "SELECT COUNT(*) FROM nominals WHERE force <> 'surrey'", lambda fixed: add_outsider(fixed, members)
    )


def add_outsider(fixed, members):
    """A roster with a note that Surrey signed, although the question does not name it."""
    note = replace(peek(Ready, fixed.roster[-1]), force="surrey", ephemeral_key=fresh_key())
    return replace(fixed, roster=(*fixed.roster, sign(note, signer_of(members, "surrey"))))


def declined_without_trace_for(members, sql, change):
    """As above, for another question."""
    before = members.members[VICTIM].ledger.sequence
    with pytest.raises(QueryFailed, match="1 declined, roster"):
        ask_until_fixed(members, change, sql=sql)
    assert members.members[VICTIM].ledger.sequence == before


def test_a_roster_without_the_forces_own_newest_note_is_refused(members):
    """The coordinator shows the victim a roster in which it is not, or with an older note of it."""
    declined_without_trace(
        members,
        lambda fixed: replace(fixed, roster=tuple(e for e in fixed.roster if peek(Ready, e).force != VICTIM)),
        reason="newest note",
    )


def test_a_revoked_note_of_the_force_itself_is_refused(members):
    """A second Prepare revoked the first note; a roster with the first is refused."""
    first = {}

    def on_answer(force, answer):
        if force == VICTIM and answer.ready is not None and not first:
            first["note"] = answer.ready
            note = peek(Ready, answer.ready)
            # A note that may expire soon is renewed; the same one would answer an earlier Prepare.
            members.now += members.manifest.timing.ready_seconds
            newer = members.members[VICTIM].tasks.prepare(Prepare(note.query_hash, note.attempt))
            members.now -= members.manifest.timing.ready_seconds
            return replace(answer, ready=newer.ready)
        return answer

    members.on_answer = on_answer

    def change(fixed):
        notes = [first["note"] if peek(Ready, e).force == VICTIM else e for e in fixed.roster]
        return replace(fixed, roster=tuple(notes))

    members.on_task = lambda force, task: change(task) if isinstance(task, Fixed) and force == VICTIM else task
    before = members.members[VICTIM].ledger.sequence
    with pytest.raises(QueryFailed, match="1 declined, roster"):
        members.ask(attempts=1)
    assert members.members[VICTIM].ledger.sequence == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires": 1}, "has expired"),
        ({"attempt": 2}, "another query, attempt, manifest or plan"),
        ({"query_hash": Digest(bytes(32))}, "another query, attempt, manifest or plan"),
        ({"manifest_hash": Digest(bytes(32))}, "another query, attempt, manifest or plan"),
        ({"plan": Digest(bytes(32))}, "another query, attempt, manifest or plan"),
        ({"algorithm_version": 2}, "another query, attempt, manifest or plan"),
    ],
)
def test_a_note_about_something_else_is_refused(members, changes, reason):
    """A stale or foreign note of another force does not make a roster."""
    declined_without_trace(members, lambda fixed: with_note(fixed, members, "kent", **changes), reason=reason)


def test_two_notes_of_one_force_are_refused(members):
    """A force that stands twice in a roster would count twice for the noise and cancel its own masks."""

    def change(fixed):
        twice = [envelope for envelope in fixed.roster if peek(Ready, envelope).force == "kent"]
        return replace(fixed, roster=tuple(sorted((*fixed.roster, *twice), key=lambda e: peek(Ready, e).force)))

    declined_without_trace(members, change, reason="distinct forces of the question")


def test_an_invented_member_is_refused(members):
    """A force that the manifest does not know, with a note signed by a key of its own."""

    def change(fixed):
        invented = replace(peek(Ready, fixed.roster[-1]), force="zetland", ephemeral_key=fresh_key())
        return replace(fixed, roster=(*fixed.roster, sign(invented, KeySigner(Ed25519PrivateKey.generate()))))

    declined_without_trace(members, change, reason="not a member")


def test_a_roster_below_the_smallest_is_refused(members):
    """Two forces with one tolerated colluder: each could read the other off the sum."""
    declined_without_trace_small(members)


def declined_without_trace_small(members):
    before = members.members[VICTIM].ledger.sequence
    with pytest.raises(QueryFailed):
        ask_until_fixed(members, lambda fixed: replace(fixed, roster=fixed.roster[:2]))
    assert members.members[VICTIM].ledger.sequence == before


def test_another_public_key_than_the_analysts_is_refused(members):
    """The coordinator offers a BFV key of its own, to open the victim's contribution itself."""
    own = Opener(SMALL).public_key()
    declined_without_trace(
        members, lambda fixed: replace(fixed, public_key=own), reason="not the one that the analyst signed for"
    )


def test_two_rosters_for_one_attempt_get_one_contribution(members):
    """After it has contributed, a force answers any other roster with the very same bytes, or not at all."""
    fixed = {}

    def on_task(force, task):
        if isinstance(task, Fixed) and force == VICTIM:
            fixed["task"] = task
        return task

    members.on_task = on_task
    members.ask()
    member = members.members[VICTIM]
    charged = member.ledger.sequence
    (name,) = member.sent
    other = replace(fixed["task"], roster=fixed["task"].roster[:3])

    made = member.tasks.contribute(other)

    assert not isinstance(made, NodeAnswer)
    assert made.ciphertexts == member.sent[name][0][1:]
    assert member.ledger.sequence == charged


def test_two_rosters_for_one_attempt_before_either_is_answered_get_one_contribution(members):
    """Whichever roster comes first is answered; for the other nothing is left to answer with."""
    made = []

    def on_task(force, task):
        if isinstance(task, Fixed) and force == VICTIM:
            smaller = replace(task, roster=tuple(e for e in task.roster if peek(Ready, e).force != "surrey"))
            made.append(members.members[VICTIM].tasks.contribute(smaller))
        return task

    members.on_task = on_task
    with pytest.raises(CordonError):
        members.ask(attempts=1)
    receipts = [open_signed(Receipt, m.receipt, members.manifest.keyring(VICTIM)) for m in made]
    assert len(receipts) == 1
    assert members.members[VICTIM].ledger.sequence == 1
    assert {item for sent in members.members[VICTIM].sent.values() for item in sent} == {
        (_envelope(made[0].receipt), *made[0].ciphertexts)
    }


def _envelope(envelope):
    return encode_envelope(envelope)


def test_different_rosters_to_different_forces_cannot_be_read(members):
    """A coordinator that leaves one force out for some members gets transcripts that differ, and no sum."""

    def on_task(force, task):
        if isinstance(task, Fixed) and force in ("essex", "kent", "norfolk"):
            return replace(task, roster=tuple(e for e in task.roster if peek(Ready, e).force != "surrey"))
        return task

    members.on_task = on_task
    with pytest.raises(CordonError):
        members.ask(attempts=1)
