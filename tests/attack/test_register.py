"""Attacks on the register and on ledgers: by a coordinator that shows two of them, and by whoever puts a file back."""

import shutil
import sqlite3
from contextlib import suppress
from dataclasses import replace

import pytest
from members import FORCES, Analyst, Members

from coordinator.register import Register
from cordon.envelope import ATTEMPT_FAILED, RECEIPT, KeySigner
from cordon.errors import CordonError, Misconfigured, QueryFailed, Refused, Unavailable, Untrusted
from cordon.identity import Identity, Role
from cordon.keyfile import read_signing_key
from cordon.register.checkpoint import open_checkpoint, write_checkpoint
from cordon.register.leaf import AttemptFailed, Checkpoint, DeclineCode, Erasure, Ground, Outcome, Receipt
from cordon.register.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash, root_of
from cordon.units import Digest
from cordon.wire import proofs
from cordon.wire.codec import decode_envelope
from cordon.wire.messages import Fixed, Vouch, Vouched
from cordon.wire.proofs import LeafPage, LeavesRequest, Proof, ProofRequest
from cordon.wire.signed import peek, sign
from node import contribute as contribute_module
from node.ledger import Ledger
from node.ledgerfile import create_ledger
from node.recover import recover
from node.standing import RegisterLink

FORCE = "essex"
DOMAIN = "nominal_records"


def signer_of(members, party):
    """Anybody's signing key: an attacker may be any party."""
    return KeySigner(read_signing_key(members.layout.root / party / "signing.key"))


def forged_note(members, checkpoint, time=None):
    """A checkpoint that the coordinator really signs, of whatever it likes."""
    manifest = members.manifest
    return write_checkpoint(
        manifest.origin, checkpoint, manifest.coordinator_public, signer_of(members, "coordinator"),
        int(members.now if time is None else time),
    )  # fmt: skip


class Shadow:
    """A register that grows from the true one by other leaves, with genuine proofs."""

    def __init__(self, members, *, keep=None, more=(b"forged",)):
        register = members.store.register
        true = [leaf_hash(leaf) for leaf in register.read(0, register.size)]
        self.members = members
        self.hashes = true[: len(true) if keep is None else keep] + [leaf_hash(leaf) for leaf in more]

    def node(self, level, index):
        return Frontier().extended(self.hashes[index << level : (index + 1) << level]).root

    def reply(self, request, *, with_proof=True):
        """What Prove answers from this register."""
        size = len(self.hashes)
        found = [(digest, self.hashes.index(digest)) for digest in request.leaf_hashes if digest in self.hashes]
        return Proof(
            note=forged_note(self.members, Checkpoint(size, root_of(size, self.node))),
            consistency=consistency_proof(request.old_size, size, self.node) if with_proof else (),
            frontier=Frontier.of(request.old_size, self.node).peaks,
            inclusions=tuple(
                proofs.Inclusion(digest, at, inclusion_proof(at, size, self.node)) for digest, at in found
            ),
        )


def shown_to(members, force, shadow):
    """One force sees another register than the rest."""

    def reply(name, request, reply):
        return shadow.reply(request) if name == force and isinstance(request, ProofRequest) else reply

    members.on_reply = reply


def ledger_path(members, force=FORCE):
    return members.layout.force_folder(force) / "state" / "ledger.sqlite"


def spent(members, force=FORCE):
    """Charged ever, in nano-rho."""
    return members.members[force].ledger.spending.lifetime(DOMAIN).nano


# A coordinator that shows two registers, or another than before


@pytest.mark.parametrize("keep", [1, -1])
def test_a_rewritten_register_is_noticed_by_whoever_knew_it(members, keep):
    """Leaves were replaced: the force keeps both signed checkpoints, and answers nothing more."""
    members.ask()
    member = members.members[FORCE]
    member.link.refresh(members.channel(FORCE))
    known = member.link.accepted
    count = members.store.register.size
    shadow = Shadow(members, keep=keep % count, more=[b"%d" % n for n in range(count)])
    shown_to(members, FORCE, shadow)
    with pytest.raises(Untrusted, match="is not shown to be the beginning"):
        member.link.refresh(members.channel(FORCE))

    assert member.link.accepted == known
    (_, what, first), (_, _, second) = member.ledger.evidence()
    assert "not of one register" in what
    opened = [open_checkpoint(n, members.manifest.origin, members.manifest.coordinator_public) for n in (first, second)]
    assert opened[0].checkpoint == known
    assert opened[1].checkpoint.root == root_of(len(shadow.hashes), shadow.node)
    answer = members.ask()
    (declined,) = answer["declined"]
    assert (declined["force"], declined["code"]) == (FORCE, "fault")
    assert "was changed" in declined["text"]


def test_a_register_that_was_set_back_is_not_followed(members):
    """A coordinator with an old copy of its store has fewer leaves than the forces know of."""
    members.ask()
    member = members.members[FORCE]
    member.link.refresh(members.channel(FORCE))
    known = member.link.accepted
    shadow = Shadow(members, keep=3, more=())
    members.on_reply = lambda _name, request, reply: (
        shadow.reply(replace(request, old_size=0)) if isinstance(request, ProofRequest) else reply
    )
    with pytest.raises(Untrusted, match="cannot be the beginning"):
        member.link.refresh(members.channel(FORCE))
    assert member.link.accepted == known


def fork_for_one(members, monkeypatch):
    """The coordinator extends the register in two ways, and shows one of them to one force alone."""
    shadow = Shadow(members)
    shown_to(members, FORCE, shadow)
    members.members[FORCE].link.refresh(members.channel(FORCE))
    members.on_reply = lambda _name, _request, reply: reply
    # It would have to let that force's note into the roster.
    monkeypatch.setattr(Register, "holds", lambda *_: True)
    return shadow


def test_a_forked_register_shows_in_the_first_roster_that_spans_it(members, monkeypatch):
    """Each force followed genuine proofs, but their notes name two registers: nobody contributes, and the notes are kept."""
    fork_for_one(members, monkeypatch)
    with pytest.raises(QueryFailed):
        members.ask(attempts=1)

    assert [spent(members, force) for force in FORCES] == [0] * 5
    kept = [what for force in FORCES for _, what, _ in members.members[force].ledger.evidence()]
    assert len(kept) >= 5
    assert all("register" in what for what in kept)


def test_a_forked_register_passes_where_notes_are_not_compared(members, monkeypatch):
    """What the comparison defends: without it both sides of the fork go on charging."""
    fork_for_one(members, monkeypatch)
    monkeypatch.setattr(contribute_module, "_check_one_line", lambda *_: None)
    members.ask(attempts=1)
    assert all(spent(members, force) > 0 for force in FORCES)


def test_a_note_of_no_register_never_reaches_a_roster(members):
    """A force that names a checkpoint which never was is refused by name; the others answer."""
    member = members.members[FORCE]
    honest = member.link.standing

    def standing():
        return replace(honest(), checkpoint=Checkpoint(2, Digest(bytes([7]) * 32)))

    member.tasks._tools = replace(member.tasks._tools, standing=standing)
    answered = []
    original = members.answer

    def answer(force, said):
        try:
            original(force, said)
        except Refused as refused:
            answered.append((force, str(refused)))

    members.answer = answer
    assert FORCE not in members.ask()["answered"]
    assert answered[0][0] == FORCE
    assert "not of this register" in answered[0][1]


def test_withheld_receipts_stop_the_force_until_they_are_shown(members):
    """No inclusion proof within the freshness interval: nothing more is answered; shown at last, the force goes on."""
    hide = lambda name, request, reply: (  # noqa: E731 - as short as it gets
        replace(reply, inclusions=()) if name == FORCE and isinstance(request, ProofRequest) else reply
    )
    members.on_reply = hide
    members.ask()
    members.now += members.manifest.timing.freshness_seconds + 1
    members.keep_links()
    (declined,) = members.ask()["declined"]
    assert (declined["force"], declined["code"]) == (FORCE, "fault")
    assert "not shown in the register in time" in declined["text"]
    before = spent(members)

    members.on_reply = lambda _name, _request, reply: reply
    members.keep_links()
    assert FORCE in members.ask()["answered"]
    assert spent(members) > before
    assert members.members[FORCE].ledger.unproven(), "the newest receipt is on its way"
    members.now += 5
    members.keep_links()
    assert members.members[FORCE].ledger.unproven() == []


def test_receipts_that_the_coordinator_dropped_are_deposited_again(members, monkeypatch):
    """The coordinator does not append what came with a contribution; the force's outbox brings it in, once.

    Until then the analyst does not open the sum.
    """
    monkeypatch.setattr(Register, "append_receipt", lambda *_: False)
    with pytest.raises(Untrusted, match="is not shown in the register"):
        members.ask()
    monkeypatch.undo()
    members.now += 10
    members.keep_links()
    members.keep_links()
    rows = members.store._rows("SELECT force, number FROM receipt_leaf ORDER BY force")
    assert rows == [(force, 1) for force in FORCES]


def test_an_old_checkpoint_is_not_fresh(members):
    """A coordinator that keeps showing the same signed checkpoint stops the force after the freshness interval."""
    members.members[FORCE].link.refresh(members.channel(FORCE))
    note = members.members[FORCE].ledger.accepted_note(members.manifest.origin)
    members.on_reply = lambda name, request, reply: (
        replace(reply, note=note, consistency=(), inclusions=())
        if name == FORCE and isinstance(request, ProofRequest)
        else reply
    )
    members.now += members.manifest.timing.freshness_seconds + members.manifest.timing.clock_tolerance_seconds + 1
    members.keep_links()
    (declined,) = members.ask()["declined"]
    assert "no fresh checkpoint" in declined["text"]


# A ledger that was put back


def put_back(members, force=FORCE):
    """Ask, and then put the ledger back as it was before; returns what was spent meanwhile."""
    copy = ledger_path(members, force).with_suffix(".copy")
    members.members[force].ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(ledger_path(members, force), copy)
    members.ask()
    members.keep_links()
    charged = spent(members, force)
    members.members[force].ledger.close()
    for path in ledger_path(members, force).parent.glob("ledger.sqlite*"):
        path.unlink()
    shutil.copy(copy, ledger_path(members, force))
    return charged


def restart(members, force=FORCE):
    """Start a node on whatever ledger lies there; what it says while it is to be opened."""
    members.members[force].ledger.close = lambda: None
    members.restart_node(force)
    members.open_ledgers()
    return members.members[force].said


def test_a_restored_ledger_stays_closed(members):
    """The register holds a receipt that the old copy does not: nothing is decided, and the leaf is kept as evidence."""
    put_back(members)
    said = restart(members)[0]

    assert "receipt 1 of this force" in said
    assert "put back" in said
    assert not members.members[FORCE].link.is_open
    assert len(members.members[FORCE].ledger.evidence()) == 1
    assert FORCE in members.ask()["did_not_answer"]
    assert spent(members) == 0


def test_a_restored_ledger_would_spend_the_same_budget_again_if_it_were_opened(members, monkeypatch):
    """What reading every leaf defends: the old copy knows nothing of what was spent."""
    charged = put_back(members)
    monkeypatch.setattr(RegisterLink, "_check_own", lambda *_: None)
    assert restart(members) == []
    members.ask()
    assert spent(members) == charged


def test_a_wiped_ledger_stays_closed(members):
    """An empty ledger over a force that has answered before hands out nothing."""
    members.ask()
    members.keep_links()
    members.members[FORCE].ledger.close()
    for path in ledger_path(members).parent.glob("ledger.sqlite*"):
        path.unlink()
    create_ledger(ledger_path(members), force=FORCE, now=int(members.now))
    said = restart(members)[0]
    assert "this ledger does not" in said
    assert not members.members[FORCE].link.is_open


def test_a_shorter_register_does_not_open_a_restored_ledger(members):
    """The coordinator helps: it shows the old ledger the register as it was. Others have seen more, and say so."""
    then = members.store.register.size
    members.members[FORCE].link.refresh(members.channel(FORCE))
    put_back(members)
    shown_to(members, FORCE, Shadow(members, keep=then, more=()))
    restart(members)
    assert not members.members[FORCE].link.is_open


def wiped(members, force=FORCE):
    """A force has lost its ledger."""
    members.members[force].ledger.close()
    for path in ledger_path(members, force).parent.glob("ledger.sqlite*"):
        path.unlink()


def test_a_lost_ledger_is_made_again_from_the_register(members):
    """All that was charged is found again, numbers go on, and the ledger opens by Vouches like any other."""
    for _ in range(2):
        members.ask()
    members.now += 10
    members.keep_links()
    charged = spent(members)
    wiped(members)
    count = recover(
        ledger_path(members), members.channel(FORCE), force=FORCE, manifest=members.manifest, now=int(members.now)
    )
    assert count == 2
    assert restart(members) == []
    assert members.members[FORCE].link.is_open
    assert spent(members) == charged
    assert FORCE in members.ask()["answered"]
    assert members.members[FORCE].ledger.sequence == 3
    members.members[FORCE].ledger.close()
    Ledger(ledger_path(members), force=FORCE).close()


def test_a_ledger_is_not_made_from_a_register_that_misses_a_receipt(members):
    """A coordinator that hides a charge, or shows other leaves than it signed, gets no ledger made of it."""
    for _ in range(2):
        members.ask()
    members.now += 10
    members.keep_links()
    wiped(members)
    channel = members.channel(FORCE)
    register = members.store.register
    first = next(
        number for number, leaf in enumerate(register.read(0, register.size))
        if decode_envelope(leaf).payload_type == RECEIPT and peek(Receipt, decode_envelope(leaf)).force == FORCE
    )  # fmt: skip
    leaves = register.read(0, register.size)
    hidden = Shadow(members, keep=0, more=[*leaves[:first], *leaves[first + 1 :]])
    members.on_reply = lambda _name, request, reply: (
        hidden.reply(request) if isinstance(request, ProofRequest) else reply
    )
    with pytest.raises(Untrusted, match="not those of its checkpoint"):
        recover(ledger_path(members), channel, force=FORCE, manifest=members.manifest, now=int(members.now))
    channel.replace["Leaves"] = lambda _pages: [LeafPage(0, (*leaves[:first], *leaves[first + 1 :]))]
    with pytest.raises(Misconfigured, match="do not follow one another at number 1"):
        recover(ledger_path(members), channel, force=FORCE, manifest=members.manifest, now=int(members.now))
    assert not ledger_path(members).exists()


# Vouches


def closed_node(members):
    """A node that has started, and that nobody has vouched for yet."""
    members.members[FORCE].ledger.close = members.members[FORCE].ledger.close
    members.presence.leave(members.connections[FORCE])
    members.coordinator.vouching.left(FORCE)
    members.members[FORCE].ledger.close()
    members.members[FORCE] = members.start_node(FORCE)
    member = members.members[FORCE]
    return member, member.link.challenge()


def vouch_of(members, force, challenge, checkpoint=None):
    """A signed Vouch."""
    vouch = Vouch(force, (challenge,), checkpoint or members.members["kent"].link.accepted)
    return sign(vouch, signer_of(members, f"forces/{force}"))


def test_enough_vouches_upon_the_fresh_challenge_open_a_ledger(members):
    """The control: c + 1 others, and it opens."""
    member, challenge = closed_node(members)
    vouches = tuple(vouch_of(members, force, challenge) for force in ("kent", "surrey"))
    member.link.vouched(members.channel(FORCE), Vouched(vouches))
    assert member.link.is_open


@pytest.mark.parametrize("attack", ["replayed", "own", "one force twice", "by another's key", "another register"])
def test_vouches_that_do_not_count_open_nothing(members, attack):
    """An old challenge, itself, one voice twice, a forged name, or a checkpoint that is not of this register."""
    member, challenge = closed_node(members)
    good = vouch_of(members, "kent", challenge)
    nowhere = Checkpoint(members.members["kent"].link.accepted.size, Digest(bytes([9]) * 32))
    other = {
        "replayed": lambda: vouch_of(members, "surrey", bytes(32)),
        "own": lambda: vouch_of(members, FORCE, challenge),
        "one force twice": lambda: vouch_of(members, "kent", challenge),
        "by another's key": lambda: sign(
            Vouch("surrey", (challenge,), members.members["kent"].link.accepted), signer_of(members, "forces/kent")
        ),
        "another register": lambda: vouch_of(members, "surrey", challenge, nowhere),
    }[attack]()
    member.link.vouched(members.channel(FORCE), Vouched((good, other)))
    assert not member.link.is_open
    member.link.vouched(members.channel(FORCE), Vouched((vouch_of(members, "norfolk", challenge),)))
    assert member.link.is_open


def test_all_restarted_together_answer_again_without_help(members):
    """Coordinator and every node are killed, and start again a month later."""
    members.ask()
    members.store.close()
    for member in members.members.values():
        member.ledger.close()
    members.now += 30 * 86_400
    members.members = {force: members.start_node(force) for force in FORCES}
    members.connections = {}
    members.start_coordinator()
    assert len(members.ask()["answered"]) == 5


def test_a_closed_ledger_still_sends_what_was_committed(members):
    """Killed after its commit, a node that nobody vouches for yet sends the stored bytes again."""
    caught = []
    members.on_contribution = lambda force, made: caught.append(made) if force == FORCE else made
    analyst = Analyst(members)
    composed = analyst.compose()
    analyst.submit(composed.envelope, composed.public_key)
    while members.deliver():
        pass
    (made,) = caught
    member, _ = closed_node(members)
    fixed = Fixed(composed.query_hash, 1, (), b"")
    assert not member.link.is_open
    assert member.tasks.contribute(fixed) == made


# Clocks, failures, races


def test_a_clock_that_jumps_ahead_mints_no_budget(members):
    """A node whose clock is two years ahead answers nothing, and its period stays where it was."""
    members.ask()
    period = members.members[FORCE].ledger.spending.period(DOMAIN)
    members.skew[FORCE] = 2 * 366 * 86_400
    members.keep_links()
    answer = members.ask()
    assert FORCE not in answer["answered"]
    assert members.members[FORCE].ledger.spending.period(DOMAIN) == period


def test_a_force_that_is_always_ready_and_never_contributes_burns_a_bounded_share(tmp_path):
    """Failures may burn a fifth of the year; then the others take part in no roster with it, and go on without it."""
    members = Members(tmp_path / "f", budget="3")
    try:
        members.on_task = lambda force, task: None if force == "surrey" and isinstance(task, Fixed) else task
        limits = members.members[FORCE].gate.policy.limits(DOMAIN, members.manifest)
        for _ in range(6):
            try:
                members.ask(epsilon="1", attempts=1)
            except QueryFailed:
                continue
        period = members.members[FORCE].ledger.spending.period(DOMAIN)
        one = members.members[FORCE].ledger._one("SELECT max(rho) FROM charge")[0]
        failed = members.members[FORCE].ledger.spending.failed(DOMAIN, period).nano
        assert limits.failed.nano <= failed <= limits.failed.nano + one
        assert "surrey" in members.members[FORCE].ledger.failing(period)
        charged = members.members[FORCE].ledger.sequence
        assert charged < 6
    finally:
        members.close()


def test_two_analysts_who_race_for_the_last_budget_do_not_both_get_it(tmp_path):
    """Both queries are admitted while there is room for one: every force is ready for one of them only."""
    members = Members(tmp_path / "f", budget="1")
    try:
        first, second = Analyst(members, "alice"), Analyst(members, "bob")
        for analyst in (first, second):
            composed = analyst.compose(epsilon="3/4")
            analyst.submit(composed.envelope, composed.public_key)
        members.settle()
        limits = members.members[FORCE].gate.policy.limits(DOMAIN, members.manifest)
        for force in FORCES:
            assert members.members[force].ledger.sequence <= 1
            assert spent(members, force) <= limits.period.nano
    finally:
        members.close()


def test_a_pause_takes_effect_before_the_next_commit(members):
    """Paused between Ready and the roster: nothing is charged, and the others see why."""
    member = members.members[FORCE]

    def pause(force, task):
        if force == FORCE and isinstance(task, Fixed):
            member.config.pause_file.touch()
        return task

    members.on_task = pause
    answer = members.ask(attempts=2)
    assert FORCE not in answer["answered"]
    assert member.ledger.sequence == 0
    assert {d["code"] for d in answer["declined"]} <= {DeclineCode.PAUSED.words}


def test_a_federation_lives_on_after_a_force_has_spent_what_failures_may_burn(tmp_path):
    """The shunned force behaves again: it is left out for a while, and the others go on answering."""
    members = Members(tmp_path / "f", budget="3", cooldown_seconds=60)
    try:
        members.on_task = lambda force, task: None if force == "surrey" and isinstance(task, Fixed) else task
        for _ in range(6):
            with suppress(QueryFailed):
                members.ask(epsilon="1", attempts=1)
            members.now += 100
        members.on_task = lambda _, task: task
        assert "surrey" in members.members[FORCE].ledger.failing(2026)
        answered = []
        for _ in range(3):
            with suppress(QueryFailed):
                answered.append(members.ask(epsilon="1/2", attempts=1)["answered"])
            members.now += 100
        assert answered
        assert all("surrey" not in forces and FORCE in forces for forces in answered)
    finally:
        members.close()


def test_a_force_that_keeps_declining_rosters_is_named(tmp_path):
    """Finding fault with a roster is not blamed; doing so again and again is, and it is left out for longer."""
    members = Members(tmp_path / "f", cooldown_seconds=60)
    try:
        honest = members.handle

        def handle(force, task):
            if force == "surrey" and isinstance(task, Fixed):
                said = members.members["surrey"].tasks._signed(
                    task.query_hash, task.attempt, Outcome.DECLINED, DeclineCode.ROSTER, "no"
                )
                members.answer("surrey", said)
            else:
                honest(force, task)

        members.handle = handle
        for _ in range(6):
            with suppress(QueryFailed):
                members.ask(epsilon="1/4", attempts=1)
            members.now += 30
        failed = [peek(AttemptFailed, e) for e in registered(members, ATTEMPT_FAILED)]
        assert [f.missing for f in failed[:3]] == [(), (), ()]
        assert failed[3].missing == ("surrey",)
        assert len(failed) < 6
    finally:
        members.close()


def registered(members, payload_type):
    """Envelopes of one kind in the register, in order."""
    register = members.store.register
    envelopes = [decode_envelope(leaf) for leaf in register.read(0, register.size)]
    return [envelope for envelope in envelopes if envelope.payload_type == payload_type]


@pytest.mark.parametrize("number", [2**62, 2**63, 2**64 - 1])
def test_a_receipt_with_a_number_beyond_any_stops_nobody(members, number):
    """A force's own signed receipt is refused before anything is stored of it, and the coordinator goes on."""
    members.ask()
    receipt = peek(Receipt, registered(members, RECEIPT)[0])
    forged = sign(replace(receipt, number=number), signer_of(members, f"forces/{receipt.force}"))
    reading = members.coordinator._reading
    with pytest.raises(CordonError):
        members.run(reading.deposit(forged, Identity(Role.FORCE, receipt.force)))
    members.store.check()
    assert len(members.ask()["answered"]) == 5


def test_receipts_of_queries_that_never_were_are_not_deposited(members):
    """A force cannot fill the register with receipts of its own making."""
    members.ask()
    receipt = peek(Receipt, registered(members, RECEIPT)[0])
    forged = sign(
        replace(receipt, query_hash=Digest(bytes(32)), number=2), signer_of(members, f"forces/{receipt.force}")
    )
    size = members.store.register.size
    with pytest.raises(Refused, match="was on no roster"):
        members.run(members.coordinator._reading.deposit(forged, Identity(Role.FORCE, receipt.force)))
    assert members.store.register.size == size


def test_a_deposit_that_is_refused_keeps_nothing_else_back(members):
    """One receipt that the coordinator does not take: the ledger opens all the same, and the rest is deposited."""
    members.ask()
    refused = []
    honest = members.coordinator._reading.deposit

    async def deposit(envelope, caller):
        if caller.name == FORCE and envelope.payload_type == RECEIPT:
            refused.append(envelope)
            raise Refused("not this one")
        return await honest(envelope, caller)

    members.coordinator._reading.deposit = deposit
    members.now += 10
    members.members[FORCE].ledger.close()
    assert restart(members) == []
    members.keep_links()
    assert refused
    assert members.members[FORCE].link.is_open


def test_a_ledger_whose_end_was_cut_off_stays_closed(members):
    """The newest charge and its chain entry are gone, the newest checkpoint is kept: what follows is read again."""
    for _ in range(2):
        members.ask()
        members.now += 5
        members.keep_links()
    members.members[FORCE].ledger.close()
    with sqlite3.connect(ledger_path(members)) as database:
        (last,) = database.execute("SELECT max(number) FROM entry WHERE kind = 'charge'").fetchone()
        database.execute("DELETE FROM entry WHERE number >= ?", (last,))
        database.execute("DELETE FROM charge WHERE number = 2")
    database.close()
    assert "receipt 2 of this force" in restart(members)[0]
    assert not members.members[FORCE].link.is_open


def test_worthless_vouches_of_the_first_to_answer_do_not_shut_a_ledger_for_ever(members):
    """Two colluding forces vouch first, for nothing; the honest ones are still asked and carried."""
    vouching = members.coordinator.vouching
    closed_node(members)
    challenge = members.members[FORCE].link.challenge()
    vouching.joined(FORCE, challenge)
    members.connections[FORCE] = members.presence.join(FORCE, None)
    nowhere = Checkpoint(members.members["kent"].link.accepted.size, Digest(bytes([9]) * 32))
    for force in ("kent", "surrey"):
        vouching.vouch(vouch_of(members, force, challenge, nowhere), force)
    for force in ("norfolk", "suffolk"):
        vouching.vouch(vouch_of(members, force, challenge), force)
    members.open_ledgers()
    assert members.members[FORCE].link.is_open


# Erasure and embargo


def openings(members, role=Role.ANALYST, name="bob"):
    """What a party is served of what leaves commit to."""

    async def collected():
        caller = Identity(role, name)
        return [o async for o in members.coordinator._reading.openings(LeavesRequest(0, 10**6), caller)]

    return members.run(collected())


def test_only_governance_erases_and_the_leaf_stays(members, tmp_path):
    """A force's order to erase is refused; governance's removes the question, and root and proofs are as before."""
    from coordinator.erasure import Erasures

    members.ask()
    register = members.store.register
    before = register.read(0, register.size)
    (query,) = [opening for opening in openings(members) if opening.query is not None]
    erasures = Erasures(tmp_path / "erasures", members.store, members.manifest, members.log)
    order = Erasure(query.leaf_index, Ground.COURT_ORDER, int(members.now))
    with pytest.raises(Untrusted):
        members.run(erasures.carry_out(sign(order, signer_of(members, "forces/kent"))))
    assert [o for o in openings(members) if o.query is not None]

    governance = KeySigner(read_signing_key(members.layout.root / "governance" / "0.key"))
    for leaf, words in ((10**6, "has no leaf"), (2**63, "has no leaf"), (0, "cannot be erased")):
        with pytest.raises(Refused, match=words):
            members.run(erasures.carry_out(sign(replace(order, leaf_index=leaf), governance)))
    members.run(erasures.carry_out(sign(order, governance)))
    assert not [o for o in openings(members, Role.AUDITOR, "ico") if o.query is not None]
    assert register.read(0, len(before)) == before
    assert register.size == len(before) + 1


def test_an_open_query_is_not_erased(members, tmp_path):
    """Its forces may yet need what it asks: the order waits until the query is closed."""
    from coordinator.erasure import Erasures

    analyst = Analyst(members)
    composed = analyst.compose()
    analyst.submit(composed.envelope, composed.public_key)
    (query,) = [opening for opening in openings(members) if opening.query is not None]
    erasures = Erasures(tmp_path / "erasures", members.store, members.manifest, members.log)
    governance = KeySigner(read_signing_key(members.layout.root / "governance" / "0.key"))
    order = sign(Erasure(query.leaf_index, Ground.COURT_ORDER, int(members.now)), governance)
    with pytest.raises(Unavailable):
        members.run(erasures.carry_out(order))
    members.settle()
    members.run(erasures.carry_out(order))
