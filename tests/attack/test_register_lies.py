"""Lies that a register can tell, each found by a reader who trusts governance's keys alone, with its leaf."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lies import LATER, lie, read, ready
from registers import RHO, Party, Register, digest

from cordon.envelope import seal
from cordon.reading.mirror import Mirror
from cordon.reading.read import Options, Reader
from cordon.register.leaf import Checkpoint, Completed, DeclineCode, Outcome
from cordon.register.tiles import pack_entries, tile_path
from cordon.units import Rho
from cordon.wire import codec
from cordon.wire.signed import peek


@pytest.fixture
def register():
    """A register in which two queries were answered, so far honestly."""
    made = Register()
    made.round()
    made.round("bob")
    return made


def entries(source, register, leaves):
    """Serve other leaves under the checkpoint and tiles that were signed."""
    source.files[tile_path(None, 0, len(register.leaves))] = pack_entries(leaves)
    return source


def test_the_honest_register_verifies(register):
    """Without a lie there is no discrepancy: what the other tests find is their lie."""
    asked = ready(register)
    for force in register.forces:
        register.receipt(asked, 1, force)
    register.complete(asked)

    assert read(register).discrepancies == ()


# The coordinator lies about leaves


def test_a_dropped_leaf_is_found(register):
    """Leaf 9 is left out of what is served."""
    assert lie(register, entries(register.source(), register, register.leaves[:9] + register.leaves[10:]))[0] == 9


def test_swapped_leaves_are_found(register):
    """Leaves 9 and 10 are served the other way round."""
    leaves = list(register.leaves)
    leaves[9], leaves[10] = leaves[10], leaves[9]
    assert lie(register, entries(register.source(), register, leaves))[0] == 9


def test_withheld_leaves_are_found(register):
    """The last three leaves are signed, and not served."""
    leaf, what = lie(register, entries(register.source(), register, register.leaves[:-3]))
    assert (leaf, "is not served" in what) == (len(register.leaves) - 3, True)


def test_a_rewritten_register_is_found(register):
    """Leaf 8 is another one than it was at the last reading, under a new checkpoint with new tiles."""
    mirror = Mirror(None)
    read(register, mirror=mirror)
    register.ask()
    register.leaves[8] = register.leaves.pop()
    register.ask()
    result = read(register, mirror=mirror)

    assert (result.discrepancies[0].leaf, "forked or rewritten" in result.discrepancies[0].what) == (8, True)
    names = [name for name, _ in result.discrepancies[0].evidence]
    assert names == ["checkpoint-accepted", "checkpoint-served"]


def test_two_registers_of_one_size_are_found(register):
    """Two checkpoints of one size have different roots: one reader was shown another register."""
    mirror = Mirror(None)
    register.ask()
    read(register, mirror=mirror)
    last = len(register.leaves) - 1
    register.leaves.pop()
    register.ask()

    assert lie(register, mirror=mirror)[0] == last


def test_a_register_that_shrank_to_another_is_found(register):
    """An older checkpoint whose root is not that of the leaves that were read."""
    mirror = Mirror(None)
    read(register, mirror=mirror)
    register.leaves[-2:] = [register.leaves[-1]]

    assert "two registers" in lie(register, mirror=mirror)[1]


def test_a_shorter_honest_copy_is_no_lie(register):
    """A published copy that is older than the mirror is told, and is no discrepancy."""
    older = register.source(after=LATER)
    mirror = Mirror(None)
    register.ask()
    read(register, mirror=mirror)
    result = read(register, older, mirror)

    assert result.discrepancies == ()
    assert "older than the mirror" in result.pending[0].what


def test_a_coordinator_that_was_set_back_is_found(register):
    """A coordinator itself has fewer leaves than it has shown before."""
    older = register.source(at_once=True, after=LATER)
    mirror = Mirror(None)
    register.ask()
    read(register, mirror=mirror)

    assert lie(register, older, mirror) == (
        len(register.leaves) - 1,
        "the register was set back: the coordinator has 32 leaves, and had 33",
    )


def test_a_changed_byte_is_found(register):
    """A leaf whose signature was changed before the tree was made."""
    register.leaves[9] = register.leaves[9][:-1] + bytes([register.leaves[9][-1] ^ 1])
    assert lie(register) == (9, "the leaf does not hold: its signature does not verify")


def test_bytes_that_are_no_leaf_are_found(register):
    """Something that is no envelope stands in the tree."""
    register.leaves.append(b"no envelope")
    leaf, what = lie(register)
    assert (leaf, "it cannot be parsed" in what) == (len(register.leaves) - 1, True)


def test_a_second_signature_is_found(register):
    """A leaf that somebody else has signed too: the signature would say anything."""
    asked = ready(register)
    envelope = codec.decode_envelope(register.leaves[asked.leaf])
    register.leaves[asked.leaf] = codec.encode_envelope(
        replace(envelope, signatures=(*envelope.signatures, *sign_of(register, envelope)))
    )
    leaf, what = lie(register)
    assert (leaf, "2 signatures" in what) == (asked.leaf, True)


def sign_of(register, envelope):
    """Another member's signature over the same payload."""
    return seal(envelope.payload_type, envelope.payload, register.governance[0].signer).signatures


def test_a_number_that_cannot_be_stored_is_found(register):
    """A receipt whose number is beyond what a database holds is a discrepancy, not a crash."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", number=2**64 - 1)
    assert lie(register) == (leaf, "the leaf does not hold: a number in it is beyond what can be")


def test_a_force_that_was_shown_another_register_is_found(register):
    """A receipt names a checkpoint that this register never stood at: the force was shown a fork."""
    register.gossip = True
    assert read(register).discrepancies == ()
    asked = ready(register)
    register.receipt(asked, 1, "essex")
    leaf = register.receipt(asked, 1, "kent", checkpoint=Checkpoint(20, digest()))
    found, what = lie(register)
    assert (found, "kent was shown another register" in what) == (leaf, True)


def test_a_force_that_was_shown_the_future_is_found(register):
    """A receipt names a checkpoint of more leaves than stand before it."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", checkpoint=Checkpoint(10**6, digest()))
    found, what = lie(register)
    assert (found, "before this leaf stood in it" in what) == (leaf, True)


def test_a_query_from_the_future_is_found(register):
    """A submission time after the checkpoint's would keep a gap pending, and an embargo running, for ever."""
    asked = register.ask(changes={"submitted_at": register.now + 10 * LATER})
    found, what = lie(register)
    assert (found, "later than the register was signed" in what) == (asked.leaf, True)


# Somebody signs for somebody else


def test_a_receipt_by_another_force_is_found(register):
    """A receipt of kent that essex has signed."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", signer=register.members["essex"].signer)
    found, what = lie(register)
    assert (found, "not that of the force kent" in what) == (leaf, True)


def test_a_receipt_by_the_coordinator_is_found(register):
    """The coordinator makes up a charge."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", signer=register.coordinator.signer)
    assert lie(register)[0] == leaf


def test_an_analyst_who_signs_as_coordinator_is_found(register):
    """A query that its analyst has put into the register."""
    asked = register.ask(signer=register.analysts["alice"].signer)
    found, what = lie(register)
    assert (found, "not that of the coordinator" in what) == (asked.leaf, True)


def test_a_rejection_by_the_coordinator_is_found(register):
    """The coordinator says that the analyst's check failed."""
    asked = register.round()
    envelope = codec.decode_envelope(register.leaves[-1])
    leaf = register.reject(asked, peek(Completed, envelope).sum_hash, signer=register.coordinator.signer)
    assert lie(register)[0] == leaf


def test_a_forged_signature_of_an_analyst_is_found(register):
    """An answer under the analyst's key id, with a signature by somebody else, shows once the query is opened."""
    asked = register.round()
    leaf = register.publish(asked)
    envelope = codec.decode_envelope(register.leaves[leaf])
    (signed,) = envelope.signatures
    forged = replace(envelope, signatures=(replace(signed, signature=bytes(64)),))
    register.leaves[leaf] = codec.encode_envelope(forged)
    found, what = lie(register)
    assert (found, "analyst" in what) == (leaf, True)


def test_an_erasure_without_governance_is_found(register):
    """The coordinator erases a query by its own word."""
    asked = register.round()
    leaf = register.erase(asked.leaf, signer=register.coordinator.signer)
    assert [item.leaf for item in read(register).discrepancies] == [asked.leaf, leaf]


def test_a_manifest_without_enough_governance_is_found(register):
    """A second manifest that only one of the governance keys has signed."""
    leaf = register.adopt(register.governance[0])
    found, what = lie(register)
    assert (found, "not trusted" in what) == (leaf, True)


def test_a_register_of_another_governance_is_found(register):
    """The first manifest is signed by keys that the reader does not trust."""
    source = register.source()
    stranger = Register()
    result = Reader(Mirror(None), source, Options(stranger.governance_keys)).read()
    assert (result.discrepancies[0].leaf, "not trusted" in result.discrepancies[0].what) == (0, True)


# Queries, rosters and sums


def test_a_query_over_the_ceiling_is_found(register):
    """A query that costs more than the manifest allows."""
    asked = register.ask(rho=10**12)
    assert lie(register)[0] == asked.leaf


def test_a_query_for_an_unlisted_purpose_is_found(register):
    """A query for a purpose that has no basis in law."""
    asked = register.ask(purpose="curiosity", opened=False)
    assert lie(register)[0] == asked.leaf


def test_a_query_that_is_submitted_twice_is_found(register):
    """One query stands in the register twice."""
    asked = register.ask()
    register.leaves.append(register.leaves[asked.leaf])
    assert lie(register)[0] == len(register.leaves) - 1


def test_a_decision_of_a_force_that_was_not_asked_is_found(register):
    """A force decides about a query of others."""
    asked = register.ask(forces=("essex", "norfolk", "suffolk"))
    leaf = register.decide(asked, "kent")
    assert lie(register)[0] == leaf


@pytest.mark.parametrize(
    ("forces", "attempt"),
    [(("essex", "kent"), 1), (("kent", "essex", "norfolk"), 1), (("essex", "kent", "norfolk"), 3)],
)
def test_a_roster_that_may_not_be_is_found(register, forces, attempt):
    """Too few forces, out of order, or an attempt that nobody signed for."""
    asked = register.ask()
    leaf = register.roster(asked, attempt, forces)
    assert lie(register)[0] == leaf


def test_a_second_roster_of_one_attempt_is_found(register):
    """Two rosters for one attempt: the sums of both could be compared."""
    asked = ready(register)
    leaf = register.roster(asked, 1, ("essex", "kent", "norfolk"))
    assert lie(register)[0] == leaf


def test_a_sum_without_all_its_receipts_is_found(register):
    """An attempt is completed, and the receipt of one force is withheld."""
    asked = ready(register)
    for force in register.forces:
        register.receipt(asked, 1, force, deposit=force != "kent")
    leaf = register.complete(asked)
    found, what = lie(register)
    assert (found, "no receipt of kent" in what) == (leaf, True)


def test_a_sum_of_other_receipts_is_found(register):
    """An attempt is completed with the hash of a receipt that nobody deposited."""
    asked = ready(register)
    for force in register.forces:
        register.receipt(asked, 1, force)
    leaf = register.complete(asked, receipt_hashes=tuple(digest() for _ in register.forces))
    assert lie(register)[0] == leaf


def test_a_force_off_the_roster_that_is_blamed_is_found(register):
    """An attempt fails for want of a force that was not on its roster; one whose receipt alone came is no lie."""
    asked = register.ask()
    register.roster(asked, 1, ("essex", "norfolk", "suffolk"))
    register.receipt(asked, 1, "essex")
    register.fail(asked, 1, ("essex",))
    assert read(register).discrepancies == ()
    register.roster(asked, 2, ("essex", "norfolk", "suffolk"))
    leaf = register.fail(asked, 2, ("kent",))
    found, what = lie(register)
    assert (found, "not on the roster" in what) == (leaf, True)


def test_an_attempt_that_failed_and_was_completed_is_found(register):
    """One attempt has two ends."""
    asked = ready(register)
    for force in register.forces:
        register.receipt(asked, 1, force)
    register.complete(asked)
    leaf = register.fail(asked, 1, ())
    assert lie(register)[0] == leaf


def test_a_changed_sum_is_found_by_adding_again():
    """The registered sum is not the sum of the contributions, though every signature holds."""
    register = Register()
    asked = register.round(ciphertexts=True)
    assert read(register, register.source(kept=True)).discrepancies == ()
    register.leaves.pop()
    leaf = register.complete(asked, sum_hash=digest())
    found, what = lie(register, register.source(kept=True))
    assert (found, "the coordinator changed it" in what) == (leaf, True)


def test_a_changed_contribution_is_found_by_adding_again():
    """A kept contribution is not the one that its receipt names."""
    register = Register()
    asked = register.round(ciphertexts=True)
    envelope, _ = register.kept[asked.hash, 1][0]
    register.kept[asked.hash, 1][0] = (envelope, register.kept[asked.hash, 1][1][1])
    found, what = lie(register, register.source(kept=True))
    assert (found, "not the one that its receipt names" in what) == (len(register.leaves) - 1, True)


# Openings


def test_an_overdue_embargo_is_found(register):
    """A query whose embargo has passed is not opened; before, it is no lie."""
    asked = register.ask(purpose="live", opened=False)
    assert read(register).discrepancies == ()
    found, what = lie(register, register.source(after=31 * 86_400))
    assert (found, "embargo of 30 days" in what) == (asked.leaf, True)


def test_a_query_that_is_kept_from_the_auditor_is_found(register):
    """To auditors everything is opened at once, whatever its embargo."""
    asked = register.ask(purpose="live", opened=False)
    assert lie(register, register.source(at_once=True))[0] == asked.leaf


def test_an_answer_that_is_kept_back_is_found(register):
    """An answer that was published is served as its query is: at its embargo, and at once to auditors."""
    asked = register.round(purpose="live")
    leaf = register.publish(asked)
    register.openings.pop(leaf)
    assert read(register).discrepancies == ()
    found, what = lie(register, register.source(after=31 * 86_400))
    assert (found, "the published answer is not opened" in what) == (leaf, True)
    assert lie(register, register.source(at_once=True))[0] == leaf


def test_a_false_opening_is_found(register):
    """What is served as a query is not what its leaf commits to."""
    first, second = register.ask(), register.ask()
    register.openings[second.leaf] = replace(register.openings[first.leaf], leaf_index=second.leaf)
    found, what = lie(register)
    assert (found, "does not fit it" in what) == (second.leaf, True)


def test_a_query_whose_leaf_says_less_is_found(register):
    """The leaf says that a query costs less than its analyst has signed for."""
    asked = register.ask(changes={"rho": Rho(RHO - 1)})
    found, what = lie(register)
    assert (found, "rho, attempts, purpose or forces" in what) == (asked.leaf, True)


def test_an_analyst_whom_the_authority_does_not_know_is_found(register):
    """A query by a key that another authority has certified."""
    asked = register.ask()
    other = Register()
    other.analysts = register.analysts
    opening = register.openings[asked.leaf]
    false = replace(opening.query, certificate=other.certificate("alice"))
    register.openings[asked.leaf] = replace(opening, query=false)
    found, what = lie(register)
    assert (found, "authority" in what) == (asked.leaf, True)


def test_a_false_text_is_found(register):
    """The words of a force's decision are other ones than it committed to."""
    asked = register.ask()
    leaf = register.decide(asked, "kent", Outcome.DECLINED, DeclineCode.POLICY, text="no")
    opening = register.openings[leaf]
    register.openings[leaf] = replace(opening, text=replace(opening.text, text="yes"))
    assert lie(register)[0] == leaf


def test_an_erased_query_that_is_still_served_is_found(register):
    """An erasure that removed nothing."""
    asked = register.round()
    opening = register.openings[asked.leaf]
    register.erase(asked.leaf)
    register.openings[asked.leaf] = opening
    found, what = lie(register)
    assert (found, "still served" in what) == (asked.leaf, True)


def test_an_erased_manifest_is_found_and_kept(register):
    """One governance key erases the first manifest: that is a discrepancy, and the reader keeps what it has."""
    mirror = Mirror(None)
    read(register, mirror=mirror)
    leaf = register.erase(0)
    found, what = lie(register, mirror=mirror)
    assert (found, "erases the manifest of leaf 0" in what) == (leaf, True)
    assert mirror.opening(0) is not None
    register.round()
    assert [item.leaf for item in read(register, mirror=mirror).discrepancies] == [leaf]


def test_a_stranger_in_the_register_is_found(register):
    """A leaf by a key that nobody has ever heard of."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", signer=Party().signer)
    assert lie(register)[0] == leaf
