"""Attacks on the sum: whoever adds the ciphertexts changes the answer, or opens more than one.

Each attack comes with a twin that takes its defence out and shows that it then succeeds.
"""

import os

import numpy as np
import pytest

import cordon.analyst.client as client_module
from cordon.analyst import verify
from cordon.errors import Refused, Untrusted
from cordon.query.plan import CHECK_CELLS, SMALL
from cordon.register.leaf import Completed, Rejected
from cordon.sealing import bfv, check, ciphertext, keystream
from cordon.sealing.check import verify_opened
from cordon.units import Digest
from cordon.wire import messages
from cordon.wire.messages import SumPart
from cordon.wire.signed import open_signed, sign

T = SMALL.modulus
CELLS = 40


def contribution(cells, seed, transcript):
    """One force's vector with its check cells."""
    return check.with_check_cells(keystream.residues(cells, T), seed, transcript, T)


def encrypted(sealer, vector):
    """A vector under the analyst's key, as polynomials."""
    (chunk,) = sealer.seal(vector)
    return ciphertext.unpack(chunk, SMALL, SMALL.moduli)


def add(*parts):
    """Sum of ciphertexts, without any key."""
    total = parts[0]
    for part in parts[1:]:
        total = ciphertext.add(total, part, SMALL)
    return total


def times(factor, polynomials):
    """A ciphertext of `factor` times the plaintext, without any key."""
    moduli = np.array(SMALL.moduli, dtype=object).reshape(1, -1, 1)
    return ((polynomials.astype(object) * factor) % moduli).astype(np.uint64)


class Sum:
    """Three forces' contributions under one analyst's key."""

    def __init__(self):
        self.opener = bfv.Opener(SMALL)
        self.sealer = bfv.Sealer(self.opener.public_key(), SMALL)
        self.seed, self.transcript = os.urandom(32), Digest(os.urandom(32))
        self.cells = [[force * 100 + at for at in range(CELLS)] for force in range(3)]
        self.parts = [encrypted(self.sealer, contribution(c, self.seed, self.transcript)) for c in self.cells]

    def opened(self, polynomials):
        """What the analyst reads of a sum; raises where it was changed."""
        slots = self.opener.open([ciphertext.pack(polynomials, SMALL.moduli)])
        return verify_opened(
            slots, cells=CELLS, seed=self.seed, transcript=self.transcript, roster=3, parameters=SMALL
        )  # fmt: skip

    def plus(self, slot, value):
        """A ciphertext of `value` in one slot: anybody can make it from the public key."""
        vector = np.zeros(SMALL.slots, np.uint64)
        vector[slot] = value % T
        return encrypted(self.sealer, vector)


@pytest.fixture
def total():
    """The honest setting."""
    return Sum()


def test_honest_sum_opens(total):
    """Nobody changed anything, so the sum is what the forces sent."""
    assert total.opened(add(*total.parts)) == [sum(c) for c in zip(*total.cells, strict=True)]


def test_adding_an_encrypted_number_to_a_cell_is_noticed(total):
    """The coordinator adds Enc(500) to one cell."""
    with pytest.raises(Untrusted, match="check tags"):
        total.opened(add(*total.parts, total.plus(7, 500)))


def test_adding_an_encrypted_number_succeeds_without_tags(total):
    """Without the tags the analyst reads 500 too many and notices nothing."""
    honest = [sum(c) for c in zip(*total.cells, strict=True)]
    slots = total.opener.open([ciphertext.pack(add(*total.parts, total.plus(7, 500)), SMALL.moduli)])

    assert _only_constant_and_padding(slots, cells=CELLS, roster=3)[7] == honest[7] + 500


def _only_constant_and_padding(slots, *, cells, roster):
    assert not slots[cells + CHECK_CELLS :].any()
    assert int(slots[cells]) == roster
    return keystream.centred(slots[:cells], T)


def test_scaled_sum_is_noticed(total):
    """The coordinator doubles everything: the tags are linear and follow, the constant gives it away."""
    with pytest.raises(Untrusted, match="each force of the roster once"):
        total.opened(times(2, add(*total.parts)))


def test_scaled_sum_succeeds_without_the_constant(total):
    """A verifier for which 6 forces are as good as 3 accepts twice the answer: tags alone do not help."""
    slots = total.opener.open([ciphertext.pack(times(2, add(*total.parts)), SMALL.moduli)])

    doubled = verify_opened(
        slots, cells=CELLS, seed=total.seed, transcript=total.transcript, roster=6, parameters=SMALL
    )  # fmt: skip

    assert doubled == [2 * sum(c) for c in zip(*total.cells, strict=True)]


def test_a_force_left_out_and_another_counted_twice_is_noticed_by_masks(total):
    """Swapping one contribution for another keeps constant and tags: the masks are what stops it."""
    swapped = add(total.parts[0], total.parts[1], total.parts[1])

    # Without masks, as here, the check cells accept the swap: they say only that each part is well formed.
    assert total.opened(swapped) == [a + 2 * b for a, b, _ in zip(*total.cells, strict=True)]


def test_swapped_contribution_in_a_real_round_is_noticed(members, monkeypatch):
    """With masks, one force counted twice and another left out opens to noise, and the tags refuse it."""
    monkeypatch.setattr(verify, "verify_sum", lambda *_: None)
    monkeypatch.setattr(client_module, "verify_sum", lambda *_: None)

    def swap(chunks):
        query = members.store._queries("")[0]
        roster = query.round.roster
        parts = [members.store.ciphertexts(query.query_hash, 1, force)[0] for force in (roster[1], *roster[1:])]
        polynomials = [ciphertext.unpack(part, SMALL, SMALL.moduli) for part in parts]
        assert len(chunks) == 1
        return [SumPart(ciphertext.pack(add(*polynomials), SMALL.moduli))]

    with pytest.raises(Untrusted):
        _ask_with(members, Sum=swap)


def test_sums_of_two_attempts_combined_are_noticed(total):
    """100·S1 − 99·S2 keeps the constant at |R|; tags bound to the attempt refuse it."""
    other = Digest(os.urandom(32))
    second = add(*(encrypted(total.sealer, contribution(c, total.seed, other)) for c in total.cells))
    crafted = add(times(100, add(*total.parts)), times(-99, second))

    with pytest.raises(Untrusted, match="check tags"):
        total.opened(crafted)


def test_sums_of_two_attempts_combine_if_tags_are_not_bound_to_the_attempt(total):
    """With one transcript for both attempts the combination is accepted, a hundred times amplified."""
    moved = [[cell + 1 for cell in c] for c in total.cells]
    second = add(*(encrypted(total.sealer, contribution(c, total.seed, total.transcript)) for c in moved))
    crafted = add(times(100, add(*total.parts)), times(-99, second))

    assert total.opened(crafted) == [sum(c) - 3 * 99 for c in zip(*total.cells, strict=True)]


def test_secret_key_in_the_padding_is_noticed(total):
    """A sum that carries a secret in the slots beyond the vector is refused before anything is shown."""
    with pytest.raises(Untrusted, match="padding"):
        total.opened(add(*total.parts, total.plus(CELLS + CHECK_CELLS + 100, 12345)))


def test_secret_in_the_padding_passes_constant_and_tags(total):
    """The tags do not cover padding: without its own check the smuggled value reaches the analyst's output."""
    crafted = add(*total.parts, total.plus(CELLS + CHECK_CELLS + 100, 12345))
    slots = total.opener.open([ciphertext.pack(crafted, SMALL.moduli)])
    smuggled = int(slots[CELLS + CHECK_CELLS + 100])
    slots[CELLS + CHECK_CELLS :] = 0

    assert smuggled == 12345
    assert verify_opened(slots, cells=CELLS, seed=total.seed, transcript=total.transcript, roster=3, parameters=SMALL)


def crafted_sum(bit_plane=0):
    """A ciphertext that was never encrypted: c0 = 0, c1 = Δ, so that it decrypts to the secret key itself."""
    polynomials = np.zeros((2, len(SMALL.moduli), SMALL.slots), dtype=np.uint64)
    for at, q in enumerate(SMALL.moduli):
        polynomials[1, at, bit_plane] = q // T
    return polynomials


def test_crafted_sum_that_spells_the_secret_key_is_noticed(total):
    """The opened cells would be the key; the check refuses them, and its message tells nothing of them."""
    with pytest.raises(Untrusted) as refused:
        total.opened(crafted_sum())

    opened = total.opener.open([ciphertext.pack(crafted_sum(), SMALL.moduli)])
    assert not any(str(int(value)) in str(refused.value) for value in opened if value > 1000)


def test_crafted_sum_spells_the_secret_key_to_a_client_that_does_not_check(total):
    """Its polynomial has the key's coefficients −1, 0 and 1 only, and the key is not made of zeros."""
    slots = total.opener.open([ciphertext.pack(crafted_sum(), SMALL.moduli)])
    again = encrypted_as_polynomial(slots)

    assert set(again) <= {0, 1, T - 1}
    assert len(set(again)) == 3


def encrypted_as_polynomial(slots):
    """Coefficients of the plaintext polynomial that has these slots."""
    import tenseal.sealapi as seal

    plaintext = seal.Plaintext()
    bfv._scheme(SMALL).encoder.encode(slots.tolist(), plaintext)
    return [plaintext[at] for at in range(plaintext.coeff_count())]


# Through the whole client


def _ask_with(members, **replace):
    """Ask, with a coordinator that sends something else instead of what these methods should send."""
    original = members.client

    def lying(analyst="alice"):
        made = original(analyst)
        made._channel.replace.update(replace)
        return made

    members.client = lying
    try:
        return members.ask()
    finally:
        members.client = original


def test_another_sum_than_the_registered_one_is_never_opened(members, monkeypatch):
    """What is fetched must hash to the sum in the register; nothing is decrypted before that."""
    opened = []
    monkeypatch.setattr(bfv.Opener, "open", lambda self, chunks: opened.append(chunks))

    with pytest.raises(Untrusted, match="not the one in the register"):
        _ask_with(members, Sum=lambda parts: [SumPart(bytes(len(parts[0].ciphertext)))])

    assert opened == []


def test_failed_check_is_final_and_leaves_nothing_but_a_signed_rejection(members, monkeypatch):
    """The coordinator registers and sends a changed sum: key and seed are erased, a Rejected is in the register."""
    _lie_about_the_sum(members, monkeypatch)

    with pytest.raises(Untrusted, match="changed it"):
        members.ask()

    folder = next(p for p in (members.layout.profile().parent / "workspace").iterdir() if p.is_dir())
    assert not (folder / "secret.key").exists()
    assert not (folder / "check.seed").exists()
    assert not (folder / "answer.json").exists()
    assert _leaves(members, Rejected) == 1
    with pytest.raises(Refused, match="not here any more"):
        members.client().follow(Digest(bytes.fromhex(folder.name)), members.federation, on_event=lambda _: None)


def test_adding_again_names_the_coordinator_before_anything_is_opened(members, monkeypatch):
    """With --re-add the lie about the sum is found without decrypting anything."""
    _lie_about_the_sum(members, monkeypatch)
    monkeypatch.setattr(bfv.Opener, "open", lambda *_: pytest.fail("opened a sum that was changed"))

    with pytest.raises(Untrusted, match="the coordinator changed it"):
        members.ask(add_contributions=True)


def test_coordinator_with_the_seed_of_a_colluding_force_is_seen_by_adding_again_only(members, monkeypatch):
    """It corrects the tags too, and the check passes; adding the kept contributions again shows the lie."""
    stolen = {}
    for member in members.members.values():
        original = member.tasks._examine

        def examine(asked, now, original=original):
            admission = original(asked, now)
            stolen["seed"] = admission.seed
            return admission

        monkeypatch.setattr(member.tasks, "_examine", examine)
    _lie_about_the_sum(members, monkeypatch, stolen=stolen)

    answer = members.ask("SELECT COUNT(*) FROM nominals")
    honest = sum(len(_rows(members, force)) for force in members.members)
    assert answer["rows"][0]["values"][0]["estimate"] > honest + 5_000

    with pytest.raises(Untrusted, match="the coordinator changed it"):
        members.ask("SELECT COUNT(*) FROM nominals", add_contributions=True)


def _rows(members, force):
    snapshot = next(iter(members.members[force].tasks.snapshots.values()))
    return snapshot._database.execute("SELECT 1 FROM snapshot").fetchall()


def _leaves(members, kind):
    from cordon.wire.signed import PAYLOAD_TYPES

    return sum(
        codec_type == PAYLOAD_TYPES[kind]
        for (data,) in members.store._rows("SELECT bytes FROM leaf")
        for codec_type in [_payload_type(data)]
    )


def _payload_type(data):
    from cordon.wire.codec import decode_envelope

    return decode_envelope(data).payload_type


def _lie_about_the_sum(members, monkeypatch, stolen=None):
    """A coordinator that adds 10,000 to the first cell of every sum, and registers what it made."""
    from coordinator.combine import RunningSum

    honest = RunningSum.packed

    def packed(self):
        chunks = honest(self)
        live = next(iter(members.queries._live.values()))
        scale = live.known.plan.blocks[0].scale
        vector = np.zeros(SMALL.slots, np.uint64)
        vector[0] = 10_000 * scale
        if stolen:
            roster = members.store.roster(live.known.query_hash, live.state.attempt)
            cells = live.known.plan.cells
            shifted = np.zeros(cells + 1, np.uint64)
            shifted[0] = vector[0]
            for tag in range(2):
                vector[cells + 1 + tag] = check._tag(shifted, tag, stolen["seed"], roster.transcript, T)
        sealer = bfv.Sealer(live.known.public_key, SMALL)
        changed = ciphertext.add(ciphertext.unpack(chunks[0], SMALL, SMALL.moduli), encrypted(sealer, vector), SMALL)
        return [ciphertext.pack(changed, SMALL.moduli)]

    monkeypatch.setattr(RunningSum, "packed", packed)


def test_a_second_sum_is_not_opened_with_the_same_key_after_a_crash(members, monkeypatch):
    """The client dies between writing down what it opens and opening it; later it is offered another sum."""

    class Died(Exception):
        pass

    def die(*_):
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(bfv.Opener, "open", die)
        with pytest.raises(Died):
            members.ask()
    query = members.store._queries("")[0]
    client = members.client()
    key = members.coordinator._queries._signer

    def resigned(events):
        """The coordinator signs another sum of its own making."""
        last = open_signed(Completed, events[-1].completed, members.manifest.coordinator_keyring)
        other = Completed(
            last.query_hash, last.attempt, last.transcript_hash,
            ciphertext.chunks_digest([other_sum]), last.receipt_hashes,
        )  # fmt: skip
        leaf = sign(other, key)
        members.run(members.store.write(lambda: members.store.register.append(leaf)))
        return [*events[:-1], messages.SumReady(leaf)]

    chunk = members.store.ciphertexts(query.query_hash, 1, "")[0]
    polynomials = ciphertext.unpack(chunk, SMALL, SMALL.moduli)
    other_sum = ciphertext.pack(ciphertext.add(polynomials, polynomials, SMALL), SMALL.moduli)
    client._channel.replace.update(Follow=resigned, Sum=lambda _: [SumPart(other_sum)])
    monkeypatch.setattr(bfv.Opener, "open", lambda *_: pytest.fail("a second sum was opened"))

    with pytest.raises(Untrusted, match="another sum than this one"):
        client.follow(query.query_hash, members.federation, on_event=lambda _: None)


def test_the_same_sum_is_opened_after_a_crash(members, monkeypatch):
    """The client dies at the same place, and opens the same sum when it follows the query again."""

    class Died(Exception):
        pass

    def die(*_):
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(bfv.Opener, "open", die)
        with pytest.raises(Died):
            members.ask()
    query = members.store._queries("")[0]

    answer = members.client().follow(query.query_hash, members.federation, on_event=lambda _: None)

    assert len(answer["answered"]) == 5


def test_receipt_withheld_or_invented_is_noticed(members):
    """Every force of the roster must have its own receipt for this transcript, and no other counts."""

    def without_one(events):
        gone = next(e for e in events if isinstance(e, messages.Contributed))
        return [event for event in events if event is not gone]

    with pytest.raises(Untrusted, match="no receipt of"):
        _ask_with(members, Submit=without_one)


def test_receipts_of_another_query_are_refused(members):
    """A receipt replayed from an earlier query names another transcript."""
    members.ask()
    first = members.store._queries("")[0]
    earlier = [e for e in members.store.events(first.query_hash, 0) if isinstance(e, messages.Contributed)]

    def replayed(events):
        rest = [event for event in events if not isinstance(event, messages.Contributed)]
        return [*rest[:-1], *earlier, rest[-1]]

    with pytest.raises(Untrusted, match="no receipt of"):
        _ask_with(members, Submit=replayed)
