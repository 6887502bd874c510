"""Attacks by a force, by two analysts at once, and by whoever can write a party's files."""

import shutil
import sqlite3
from dataclasses import replace

import pytest
from members import COUNT, Analyst, Members

from cordon import envelope as kinds
from cordon.envelope import KeySigner, from_json, seal, to_json
from cordon.errors import Malformed, Misconfigured, QueryFailed, Refused, Untrusted
from cordon.identity import Identity, Role
from cordon.keyfile import read_signing_key
from cordon.manifest import open_manifest, parse_manifest, read_manifest
from cordon.register.leaf import AttemptFailed, DeclineCode, Receipt
from cordon.register.spending import Limits
from cordon.sealing.ciphertext import chunks_digest
from cordon.units import Digest, Rho
from cordon.wire.messages import ContributionHead, Fixed, Ready
from cordon.wire.signed import PAYLOAD_TYPES, peek, sign
from node.ledger import Ledger, create_ledger

FORCE = "essex"


def leaves(members, kind):
    """Payloads of the register's leaves of one kind."""
    from cordon.wire.codec import decode_envelope

    envelopes = [decode_envelope(data) for (data,) in members.store._rows("SELECT bytes FROM leaf ORDER BY number")]
    return [peek(kind, e) for e in envelopes if e.payload_type == PAYLOAD_TYPES[kind]]


# A force that does not play its part


def test_a_silent_force_is_named_and_left_out_of_the_next_attempt(members):
    """It is ready and never contributes: the attempt fails and is charged, the next goes on without it."""
    members.on_task = lambda force, task: None if force == FORCE and isinstance(task, Fixed) else task

    answer = members.ask(attempts=2)

    assert answer["lost"] == [FORCE]
    assert answer["answered"] == ["kent", "norfolk", "suffolk", "surrey"]
    assert answer["attempts_charged"] == 2
    assert [failed.missing for failed in leaves(members, AttemptFailed)] == [(FORCE,)]
    assert members.members["kent"].ledger.sequence == 2
    assert members.members[FORCE].ledger.sequence == 0


@pytest.mark.parametrize(("cooldown", "charged"), [(3600, 1), (0, 2)], ids=["with cooldown", "without it"])
def test_a_silent_force_burns_the_next_querys_budget_only_without_a_cooldown(tmp_path, cooldown, charged):
    """It falls silent in every query: with a cooldown the second query costs the others one attempt, not two."""
    members = Members(tmp_path / "f", cooldown_seconds=cooldown)
    try:
        members.on_task = lambda force, task: None if force == FORCE and isinstance(task, Fixed) else task
        assert members.ask(attempts=2)["attempts_charged"] == 2

        second = members.ask(attempts=2)

        assert second["attempts_charged"] == charged
        assert members.members["kent"].ledger.sequence == 2 + charged
        assert FORCE not in second["answered"]
    finally:
        members.close()


def test_receipts_of_a_failed_attempt_stay_in_the_register(members):
    """What was charged for nothing is on record too."""
    members.on_task = lambda force, task: None if force == FORCE and isinstance(task, Fixed) else task
    members.ask(attempts=2)

    receipts = leaves(members, Receipt)

    assert sorted((r.force, r.attempt) for r in receipts) == [
        (force, attempt) for force in ("kent", "norfolk", "suffolk", "surrey") for attempt in (1, 2)
    ]


def test_a_force_that_answers_no_task_is_absent_not_declined(members):
    """Declined is signed; silence is only silence, and nothing is charged to it."""
    members.silent = {FORCE}

    answer = members.ask()

    assert answer["did_not_answer"] == [FORCE]
    assert answer["declined"] == []


def contribution_call(members, force, head, chunks, caller=None):
    """A force calls Contribute with whatever it likes."""

    async def parts():
        yield head
        for chunk in chunks:
            yield chunk

    identity = caller or Identity(Role.FORCE, force)
    return members.run(members.coordinator.contribute(parts(), identity))


@pytest.fixture
def stopped(members):
    """A round in which FORCE has made its contribution and holds it back."""
    held = {}

    def hold(force, made):
        if force == FORCE:
            held["made"] = made
            return None
        return made

    members.on_contribution = hold
    with pytest.raises(QueryFailed):
        members.ask(attempts=1)
    held["receipt"] = peek(Receipt, held["made"].receipt)
    return held


def test_malformed_ciphertexts_are_refused_and_leave_no_trace(members, monkeypatch):
    """Truncated, too long, a coefficient at its modulus, one too many, none: each a typed error, nothing stored."""
    tried = []

    def spoil(force, made):
        if force != FORCE:
            return made
        (chunk,) = made.ciphertexts
        for chunks in ([chunk[:-1]], [chunk + b"\0"], [b"\xff" * len(chunk)], [chunk, chunk], [], [b""]):
            receipt = sign(
                replace(peek(Receipt, made.receipt), ciphertext_hash=chunks_digest(chunks)),
                KeySigner(read_signing_key(members.members[FORCE].config.signing_key)),
            )
            before = members.store.leaves()
            with pytest.raises(Malformed):
                contribution_call(members, FORCE, ContributionHead(receipt, len(chunks)), chunks)
            assert members.store.leaves() == before
            tried.append(chunks)
        return made

    members.on_contribution = spoil
    answer = members.ask()

    assert len(tried) == 6
    assert FORCE in answer["answered"]


def test_receipt_for_other_bytes_or_another_roster_is_refused(members):
    """A force cannot register one ciphertext and send another, nor reuse a receipt."""
    tried = []

    def spoil(force, made):
        if force != FORCE:
            return made
        receipt, signer = (
            peek(Receipt, made.receipt),
            KeySigner(read_signing_key(members.members[FORCE].config.signing_key)),
        )
        for changes in (
            {"ciphertext_hash": Digest(bytes(32))},
            {"transcript_hash": Digest(bytes(32))},
            {"rho": Rho(1)},
            {"force": "kent"},
        ):
            with pytest.raises(Untrusted):
                contribution_call(
                    members, FORCE, ContributionHead(sign(replace(receipt, **changes), signer), 1), made.ciphertexts
                )
            tried.append(changes)
        return made

    members.on_contribution = spoil
    members.ask()
    assert len(tried) == 4


def test_a_contribution_in_another_forces_name_is_refused(members, stopped):
    """Kent's certificate with Essex's receipt."""
    head = ContributionHead(stopped["made"].receipt, 1)
    with pytest.raises(Untrusted):
        contribution_call(members, "kent", head, stopped["made"].ciphertexts)
    with pytest.raises(Untrusted, match="is not a force"):
        contribution_call(members, FORCE, head, stopped["made"].ciphertexts, caller=Identity(Role.ANALYST, "alice"))


def test_a_second_different_contribution_is_refused(members):
    """The first is kept; the same bytes again are acknowledged, others are not."""
    sent = {}

    def keep(force, made):
        if force == FORCE:
            sent["made"] = made
        return made

    members.on_contribution = keep
    members.ask()
    made = sent["made"]
    before = members.store.leaves()
    contribution_call(members, FORCE, ContributionHead(made.receipt, 1), made.ciphertexts)
    other = sign(
        replace(peek(Receipt, made.receipt), number=99),
        KeySigner(read_signing_key(members.members[FORCE].config.signing_key)),
    )

    with pytest.raises(Untrusted, match="other bytes"):
        contribution_call(members, FORCE, ContributionHead(other, 1), made.ciphertexts)
    assert members.store.leaves() == before


def test_a_receipt_for_a_query_that_nobody_asked_is_refused(members):
    """There is no roster that it could belong to."""
    made = {}
    members.on_contribution = made.setdefault
    members.ask()
    receipt = sign(
        replace(peek(Receipt, made[FORCE].receipt), query_hash=Digest(bytes(32))),
        KeySigner(read_signing_key(members.members[FORCE].config.signing_key)),
    )
    with pytest.raises(Refused, match="no roster"):
        contribution_call(members, FORCE, ContributionHead(receipt, 1), made[FORCE].ciphertexts)


def test_a_ready_note_for_another_plan_never_joins_a_roster(members):
    """Two versions that would answer differently do not share a roster."""
    tried = []

    def other_plan(force, answer):
        if force == FORCE and answer.ready is not None:
            signer = KeySigner(read_signing_key(members.members[FORCE].config.signing_key))
            note = sign(replace(peek(Ready, answer.ready), plan=Digest(bytes(32))), signer)
            with pytest.raises(Refused, match="another manifest or plan"):
                members.run(members.queries.answer(replace(answer, ready=note), members.members[FORCE].identity))
            tried.append(note)
            return None
        return answer

    members.on_answer = other_plan
    answer = members.ask()
    assert tried
    assert FORCE not in answer["answered"]


# Budgets and policies


def test_two_analysts_who_race_for_the_last_budget_cannot_overspend(tmp_path):
    """Both are asked before either commits: reservations add up, and only one is ready."""
    members = Members(tmp_path / "f", budget="1")
    try:
        ready = []
        members.on_answer = lambda force, a: (ready.append(a.ready is not None) if force == FORCE else None, a)[1]
        members.on_task = lambda _, task: None if isinstance(task, Fixed) else task
        for name in ("alice", "bob"):
            analyst = Analyst(members, name)
            composed = analyst.compose(epsilon="4/5")
            analyst.submit(composed.envelope, composed.public_key)
        members.deliver()

        assert ready == [True, False]
        assert members.members[FORCE].ledger.sequence == 0
    finally:
        members.close()


def test_budget_is_never_overspent_by_repeated_questions(tmp_path):
    """The same question again and again: it is answered until the budget is gone, and not once more."""
    members = Members(tmp_path / "f", budget="1")
    try:
        for _ in range(3):
            members.ask(epsilon="1/2", attempts=1)
        for _ in range(3):
            with pytest.raises(QueryFailed, match="nothing was charged"):
                members.ask(epsilon="1/2", attempts=1)
        policy = members.members[FORCE].gate.policy
        limits = policy.limits("nominal_records", members.manifest)
        assert members.members[FORCE].ledger.sequence == 3
        assert members.members[FORCE].ledger.spent("nominal_records").lifetime <= limits.period
    finally:
        members.close()


def test_a_question_split_over_many_queries_costs_what_they_cost_together(tmp_path):
    """Five small queries charge five times the rho of one: nothing is saved by asking in pieces."""
    members = Members(tmp_path / "f")
    try:
        for _ in range(5):
            members.ask(epsilon="1/5", attempts=1)
        spent = members.members[FORCE].ledger.spent("nominal_records")
        one = Rho(sum(r.rho.nano for r in leaves(members, Receipt) if r.force == FORCE) // 5)
        assert spent.lifetime == one * 5
    finally:
        members.close()


@pytest.mark.parametrize(
    ("policy", "sql", "words"),
    [
        ("allow_by_force = false", "SELECT force, COUNT(*) FROM nominals GROUP BY force", "own line"),
        ('closed_columns = ["gender"]', "SELECT gender, COUNT(*) FROM nominals GROUP BY gender", "gender"),
        ('closed_columns = ["gender"]', "SELECT COUNT(*) FROM nominals WHERE gender = 'male'", "gender"),
        ('closed_columns = ["age"]', "SELECT COUNT(*) FROM nominals WHERE NOT (age < 5 OR age > 9)", "age"),
        ('purposes = ["strategic_assessment"]', COUNT, "purpose"),
        ('datasets = ["stop_search"]', COUNT, "nominals"),
        ('most_epsilon_per_attempt = "1/2"', COUNT, "per attempt"),
        ('most_epsilon_alone = "1"', COUNT, "every other party colludes"),
    ],
)
def test_a_forces_own_rule_holds_whatever_the_others_do(tmp_path, policy, sql, words):
    """The force declines with its rule's public text, and the answer comes without it."""
    members = Members(tmp_path / "f", policies={FORCE: policy})
    try:
        answer = members.ask(sql)
        (declined,) = answer["declined"]
        assert declined["force"] == FORCE
        assert declined["code"] == "policy"
        assert words in declined["text"]
        assert members.members[FORCE].ledger.sequence == 0
    finally:
        members.close()


def test_paused_takes_effect_before_the_next_decision(members):
    """An officer pauses the node: the very next query is declined as paused, by a signed decision."""
    members.ask()
    members.members[FORCE].config.pause_file.touch()

    answer = members.ask()

    assert [(d["force"], d["code"]) for d in answer["declined"]] == [(FORCE, "paused")]
    assert members.members[FORCE].ledger.sequence == 1


# Files that somebody else wrote


def ledger_path(members):
    """The victim's ledger, closed."""
    members.members[FORCE].ledger.close()
    return members.members[FORCE].config.ledger


def test_anothers_ledger_is_refused(members):
    """Kent's ledger in Essex's place would hand out a fresh budget."""
    path = ledger_path(members)
    other = members.members["kent"]
    other.ledger.close()
    shutil.copy(other.config.ledger, path)

    with pytest.raises(Misconfigured, match="ledger of kent"):
        Ledger(path, force=FORCE)


def test_a_missing_ledger_is_never_created(members):
    """A mistyped path stops the node."""
    path = ledger_path(members)
    path.unlink()

    with pytest.raises(Misconfigured, match="there is no ledger"):
        Ledger(path, force=FORCE)
    assert not path.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE charge SET rho = 0, period_sum = 0, lifetime_sum = 0",
        "DELETE FROM charge",
        "UPDATE entry SET payload = x'00' WHERE kind = 'charge'",
        "DELETE FROM entry WHERE kind = 'charge'",
        "DELETE FROM entry WHERE number = 1",
        "UPDATE charge SET period = 1999",
        "UPDATE charge SET domain = 'other'",
    ],
)
def test_a_ledger_whose_charges_were_altered_is_refused(members, statement):
    """Charges are compared with the receipts in the hash chain: spending cannot be edited away."""
    members.ask()
    path = ledger_path(members)
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()

    with pytest.raises(Misconfigured, match="altered"):
        Ledger(path, force=FORCE)


def test_a_ledger_with_edited_sums_would_spend_again_if_it_were_opened(members, monkeypatch):
    """What the comparison defends: budgets are read from the charges' sums."""
    members.ask()
    path = ledger_path(members)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE charge SET period_sum = 0, lifetime_sum = 0")
    database.close()
    monkeypatch.setattr(Ledger, "_check_charges", lambda *_: None)

    ledger = Ledger(path, force=FORCE)

    limits = Limits(*[Rho(10)] * 6)
    assert ledger.left("nominal_records", limits, 2026, 0) == Rho(10)
    ledger.close()


@pytest.mark.parametrize("size", [0, 100, 4096, 20_000])
def test_a_truncated_ledger_is_refused(members, size):
    """Half a file is no ledger."""
    members.ask()
    path = ledger_path(members)
    for extra in path.parent.glob(path.name + "-*"):
        extra.unlink()
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(Misconfigured):
        Ledger(path, force=FORCE)


def test_a_ledger_is_never_overwritten(members):
    """Creating one where one lies is refused."""
    path = ledger_path(members)
    with pytest.raises(Misconfigured, match="never overwritten"):
        create_ledger(path, force=FORCE, now=0)


def test_two_nodes_cannot_write_one_ledger(members):
    """The second process is refused while the first runs."""
    with pytest.raises(Misconfigured, match="in use by another node"):
        Ledger(members.members[FORCE].config.ledger, force=FORCE)


# Manifests


def test_a_rolled_back_manifest_is_refused(members):
    """A node keeps the highest version that it has ever accepted."""
    ledger = members.members[FORCE].ledger
    ledger.accept_manifest(7, Digest(bytes(32)), 0)

    with pytest.raises(Misconfigured, match="has accepted version 7"):
        ledger.accept_manifest(6, Digest(bytes(32)), 0)
    with pytest.raises(Misconfigured, match="another manifest of version 7"):
        ledger.accept_manifest(7, Digest(b"\1" * 32), 0)


def test_a_node_does_not_start_with_a_rolled_back_manifest(members):
    """The same through a start of the node."""
    members.members[FORCE].ledger.accept_manifest(2, Digest(bytes(32)), 0)
    members.members[FORCE].ledger.close()

    with pytest.raises(Misconfigured, match="has accepted version 2"):
        members.start_node(FORCE)


def test_a_manifest_signed_by_too_few_is_refused(members):
    """One of three governance keys is not enough, nor is the same key twice."""
    path = members.layout.root / "manifest.json"
    envelope = from_json(path.read_text())
    path.write_text(to_json(replace(envelope, signatures=envelope.signatures[:1])))
    with pytest.raises(Misconfigured, match="2 needed"):
        read_manifest(path, members.layout.governance_keys)
    with pytest.raises(Malformed, match="by different keys"):
        replace(envelope, signatures=(envelope.signatures[0],) * 2)


def test_an_altered_manifest_is_refused(members):
    """A higher epsilon limit, not signed by anybody."""
    path = members.layout.root / "manifest.json"
    envelope = from_json(path.read_text())
    payload = envelope.payload.replace(b'epsilon = "5"', b'epsilon = "9"')
    assert payload != envelope.payload
    path.write_text(to_json(replace(envelope, payload=payload)))

    with pytest.raises(Misconfigured, match="does not verify"):
        read_manifest(path, members.layout.governance_keys)


def test_a_manifest_by_other_governance_is_refused(members):
    """Whoever signs with keys of their own governs another federation."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    envelope = from_json((members.layout.root / "manifest.json").read_text())
    strangers = [KeySigner(Ed25519PrivateKey.generate()) for _ in range(3)]
    trusted = members.manifest.governance_keys

    with pytest.raises(Untrusted, match="signed by 0"):
        open_manifest(seal(kinds.MANIFEST, envelope.payload, *strangers), trusted=trusted, threshold=2)
    assert parse_manifest(envelope.payload).digest == members.manifest.digest


def test_every_decline_code_has_words():
    """What the analyst reads is the code's name in plain words."""
    assert DeclineCode.NOT_HELD.words == "not held"
    assert len({code.words for code in DeclineCode}) == len(DeclineCode)
