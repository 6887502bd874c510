"""Whoever can leave a file in a node's state folder, or is an officer, against the rule that a person decides."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from members import Analyst, Members

from cordon.envelope import KeySigner, from_json, to_json
from cordon.keyfile import read_signing_key
from cordon.query.model import Query
from cordon.register.leaf import Decision, DeclineCode, Outcome
from cordon.units import Digest
from cordon.wire.messages import Approval, Decide, Submission, Verdict
from cordon.wire.signed import peek, sign
from node.approvals import ENTRY, Given, amount_to, approvals_folder, verdict_path, write_verdict
from node.policy import Officer

FORCE = "kent"
WORDS = "SELECT COUNT(*) FROM nominals"


class Scene:
    """A federation in which a person decides at one force, and what lies in that force's folder."""

    def __init__(self, root, *, needed=1, analysts=("alice", "bob")):
        self.members = Members(root / "federation", analysts=analysts)
        self.keys = [KeySigner(Ed25519PrivateKey.generate()) for _ in range(2)]
        self.told = []
        self.let_decide({"A. Ames": self.keys[0], "B. Birch": self.keys[1]}, needed)

    @property
    def member(self):
        """The force's node."""
        return self.members.members[FORCE]

    def let_decide(self, officers, needed=1):
        """The force's own people list its officers, and start the node anew."""
        path = self.member.config.policy
        listed = ", ".join(f'{{name = "{name}", key = "{public(key)}"}}' for name, key in officers.items())
        rules = f'approval = "manual"\nofficers_needed = {needed}\nofficer = [{listed}]\n'
        path.write_text(rules + path.read_text()[path.read_text().index("[budget") :])
        self.members.restart_node(FORCE)

    def asked(self, name="alice", wait=True):
        """A query that waits at the force; its hash."""
        analyst = Analyst(self.members, name)
        composed = analyst.compose(WORDS)
        terms = replace(composed.query.terms, decide_by=composed.query.terms.decide_by + 3000,
                        expires=composed.query.terms.expires + 3000)  # fmt: skip
        envelope = analyst.signed(replace(composed.query, terms=terms))
        submission = Submission(envelope, analyst.certificate, composed.public_key, wait=wait)
        query_hash = self.members.run(self.members.queries.submit(submission, analyst.identity))
        self.pass_on()
        assert self.outcome(query_hash) == "AWAITING_APPROVAL"
        return query_hash

    def verdict(self, query_hash, **changes):
        """An approval of a query at the force."""
        return replace(Approval(query_hash, FORCE, Verdict.APPROVE, "", int(self.members.now)), **changes)

    def leave(self, approval, signer, name=None):
        """Leave a signed verdict in the state folder."""
        path = verdict_path(self.member.config.state, approval.query_hash, signer.key_id)
        write_verdict(path if name is None else path.with_name(name), approval, signer)

    def take(self):
        """The node looks into its folder, and sends what follows."""
        answers = self.member.tasks.take_approvals(lambda name, why: self.told.append((name, why)))
        for answer in answers:
            self.members.answer(FORCE, answer)
        self.pass_on()
        return [peek(Decision, answer.decision) for answer in answers]

    def pass_on(self):
        """Hand over what waits on the wire."""
        while self.members.deliver():
            pass

    def outcome(self, query_hash):
        """What the force has decided."""
        return self.member.ledger.decision(query_hash).outcome

    def is_without_effect(self, query_hash, *words):
        """Nothing is decided or recorded, and each file is told of once, with the reason."""
        recorded = len(self.member.ledger.notes(ENTRY))
        for _ in range(2):
            assert self.take() == []
        assert self.outcome(query_hash) == "AWAITING_APPROVAL"
        assert len(self.member.ledger.notes(ENTRY)) == recorded
        assert len(self.told) == len(words)
        for (_, why), said in zip(self.told, words, strict=True):
            assert said in why


def public(signer):
    """The raw public key, as a policy lists it."""
    return signer._private.public_key().public_bytes_raw().hex()


@pytest.fixture
def scene(tmp_path):
    """One officer is enough."""
    made = Scene(tmp_path)
    yield made
    made.members.close()


@pytest.fixture
def scene_of_two(tmp_path):
    """Two officers are needed."""
    made = Scene(tmp_path, needed=2)
    yield made
    made.members.close()


def test_an_officers_approval_is_what_the_others_are_measured_by(scene):
    """The genuine thing works: one signed file, and the query is answered by all five forces, once."""
    query_hash = scene.asked()
    scene.leave(scene.verdict(query_hash), scene.keys[0])
    (decision,) = scene.take()
    assert decision.outcome is Outcome.ADMITTED
    assert list(approvals_folder(scene.member.config.state).iterdir()) == []
    assert scene.take() == []
    scene.members.settle()
    assert scene.members.store.open_queries() == []
    assert scene.member.ledger.contribution(query_hash, 1) is not None


def test_an_officers_decline_is_final_and_says_why(scene):
    """The force declines as `approval` in the officer's words, and an approval after it comes too late."""
    query_hash = scene.asked()
    scene.leave(scene.verdict(query_hash, verdict=Verdict.DECLINE, text="ask for fewer columns"), scene.keys[0])
    (decision,) = scene.take()
    assert (decision.outcome, decision.code) == (Outcome.DECLINED, DeclineCode.APPROVAL)
    (row,) = scene.member.ledger.history()
    assert row.text == "an officer of this force has declined the query: ask for fewer columns"
    scene.leave(scene.verdict(query_hash), scene.keys[1])
    assert scene.take() == []
    assert "does not wait" in scene.told[0][1]
    assert scene.outcome(query_hash) == "DECLINED"


def test_approval_signed_by_the_analyst(scene):
    """The analyst's key is no officer's, and where the policy lists it, or the name, it cannot decide its own query."""
    query_hash = scene.asked()
    alice = Analyst(scene.members)
    scene.leave(scene.verdict(query_hash), alice.signer)
    scene.is_without_effect(query_hash, "no officer")
    scene.told.clear()
    scene.let_decide({"A. Ames": alice.signer, "Alice": scene.keys[1], "C. Cole": scene.keys[0]})
    scene.leave(scene.verdict(query_hash), scene.keys[1])
    scene.take()
    assert sorted(why for _, why in scene.told) == [
        "A. Ames cannot decide about a query of their own",
        "Alice cannot decide about a query of their own",
    ]
    assert scene.outcome(query_hash) == "AWAITING_APPROVAL"


def test_approval_by_an_officer_of_another_force(scene):
    """Neither an officer whom this policy does not list, nor a listed one's verdict for another force, counts."""
    query_hash = scene.asked()
    scene.leave(scene.verdict(query_hash), KeySigner(Ed25519PrivateKey.generate()))
    scene.leave(scene.verdict(query_hash, force="essex"), scene.keys[0])
    scene.take()
    assert sorted(why for _, why in scene.told) == [
        "it is a verdict for essex", "no officer that this force's policy lists has signed it",
    ]  # fmt: skip
    assert scene.outcome(query_hash) == "AWAITING_APPROVAL"


def test_approval_replayed_from_another_query(scene):
    """A verdict on one query is none on another, under whatever file name it lies."""
    first, second = scene.asked(), scene.asked("bob")
    scene.leave(scene.verdict(first), scene.keys[0], name=f"{second.hex()}.0123456789abcdef.json")
    (decision,) = scene.take()
    assert (decision.query_hash, decision.outcome) == (first, Outcome.ADMITTED)
    assert scene.outcome(second) == "AWAITING_APPROVAL"


def test_approval_altered_after_it_was_signed(scene):
    """The payload of a verdict on another query under a genuine signature does not verify."""
    first, second = scene.asked(), scene.asked("bob")
    genuine = sign(scene.verdict(first), scene.keys[0])
    altered = replace(genuine, payload=sign(scene.verdict(second), scene.keys[0]).payload)
    verdict_path(scene.member.config.state, second, scene.keys[0].key_id).write_text(to_json(altered))
    scene.is_without_effect(second, "does not verify")


def test_one_officer_twice_where_two_are_needed(scene_of_two):
    """Two files, two times and a restart in between are one officer still; another one makes two."""
    scene = scene_of_two
    query_hash = scene.asked()
    scene.leave(scene.verdict(query_hash), scene.keys[0])
    scene.leave(scene.verdict(query_hash, decided_at=1), scene.keys[0], name="another.json")
    assert scene.take() == []
    scene.members.restart_node(FORCE)
    scene.leave(scene.verdict(query_hash, text="again"), scene.keys[0], name="third.json")
    assert scene.take() == []
    assert scene.outcome(query_hash) == "AWAITING_APPROVAL"
    assert len(scene.member.ledger.notes(ENTRY)) == 1
    scene.leave(scene.verdict(query_hash), scene.keys[1])
    (decision,) = scene.take()
    assert decision.outcome is Outcome.ADMITTED


def test_verdicts_are_counted_by_officer():
    """Two approvals by one officer are one, also where both had been recorded."""
    officers = [Officer(name=name, key=key * 32) for name, key in (("A. Ames", "a1"), ("B. Birch", "a2"))]
    query_hash = Digest(bytes(32))
    first, again, other = (
        Given(officer, Approval(query_hash, FORCE, Verdict.APPROVE, "", at))
        for officer, at in ((officers[0], 1), (officers[0], 2), (officers[1], 3))
    )
    assert amount_to(query_hash, [first, again], 2) is None
    assert amount_to(query_hash, [first, again, other], 2).approved


def test_one_of_two_officers_who_declines_is_enough(scene_of_two):
    """An approval does not outweigh a decline, not even one's own."""
    scene = scene_of_two
    query_hash = scene.asked()
    scene.leave(scene.verdict(query_hash), scene.keys[0])
    assert scene.take() == []
    scene.leave(scene.verdict(query_hash, verdict=Verdict.DECLINE), scene.keys[0])
    (decision,) = scene.take()
    assert (decision.outcome, decision.code) == (Outcome.DECLINED, DeclineCode.APPROVAL)


def test_text_in_anothers_name(scene_of_two):
    """A file named after another officer counts for who signed it, and for nobody else."""
    scene = scene_of_two
    query_hash = scene.asked()
    scene.leave(scene.verdict(query_hash), scene.keys[0])
    named = verdict_path(scene.member.config.state, query_hash, scene.keys[1].key_id).name
    scene.leave(scene.verdict(query_hash, text="B. Birch agrees"), scene.keys[0], name=named)
    assert scene.take() == []
    assert scene.outcome(query_hash) == "AWAITING_APPROVAL"


def test_approval_after_expiry(scene):
    """When the time to decide is over, a verdict is without effect, to the second."""
    query_hash = scene.asked()
    query = peek(Query, scene.member.ledger.decision(query_hash).envelope)
    last = query.terms.decide_by + scene.members.manifest.timing.clock_tolerance_seconds
    scene.leave(scene.verdict(query_hash), scene.keys[0])
    scene.members.now = float(last)
    scene.is_without_effect(query_hash, "is over")
    scene.members.restart_node(FORCE)
    scene.members.now = float(last - 1)
    (decision,) = scene.take()
    assert decision.outcome is Outcome.ADMITTED


def test_approval_of_a_query_that_has_ended(scene):
    """The analyst went on without this force: the query waits no more, and a verdict on it is without effect."""
    query_hash = scene.asked()
    scene.members.run(scene.members.queries.proceed(query_hash, Analyst(scene.members).identity))
    scene.members.settle()
    scene.pass_on()
    assert scene.outcome(query_hash) == "ENDED"
    scene.leave(scene.verdict(query_hash), scene.keys[0])
    assert scene.take() == []
    assert "does not wait" in scene.told[0][1]
    assert scene.member.ledger.waiting_of("alice", int(scene.members.now)) == 0


def test_an_analyst_who_floods_the_officers(tmp_path):
    """No more queries of one analyst wait at once than the federation allows open ones, whatever a coordinator lets in."""
    scene = Scene(tmp_path)
    try:
        most = scene.members.manifest.limits.open_queries
        alice = Analyst(scene.members)
        found = []
        for _ in range(most + 1):
            answer = scene.member.tasks.decide(Decide(alice.compose(WORDS).envelope, alice.certificate, 0))
            found.append(peek(Decision, answer.decision).outcome)
        assert found == [Outcome.AWAITING_APPROVAL] * most + [Outcome.DECLINED]
        bob = Analyst(scene.members, "bob")
        answer = scene.member.tasks.decide(Decide(bob.compose(WORDS).envelope, bob.certificate, 0))
        assert peek(Decision, answer.decision).outcome is Outcome.AWAITING_APPROVAL
    finally:
        scene.members.close()


def test_files_that_are_no_verdict(scene):
    """A folder, a link, a pipe, a huge file, text that is no envelope, and one of another kind: each told of once."""
    query_hash = scene.asked()
    folder = verdict_path(scene.member.config.state, query_hash, scene.keys[0].key_id).parent
    (folder / "a.json").mkdir()
    elsewhere = folder.parent / "genuine.json"
    elsewhere.write_text(to_json(sign(scene.verdict(query_hash), scene.keys[0])))
    (folder / "b.json").symlink_to(elsewhere)
    (folder / "c.json").write_text("[" * 20_000)
    (folder / "d.json").write_bytes(b"\xff\xfe")
    (folder / "e.json").write_text("{}")
    (folder / "f.json").write_text(Path(scene.member.config.manifest).read_text()[:16_000])
    force_key = KeySigner(read_signing_key(scene.member.config.signing_key))
    (folder / "g.json").write_text(to_json(sign(scene.verdict(query_hash), force_key)))
    os.mkfifo(folder / "h.json")
    scene.take()
    assert [name for name, _ in scene.told] == [f"{letter}.json" for letter in "abcdefgh"]
    scene.is_without_effect(query_hash, *["" for _ in scene.told])


def test_two_signatures_in_one_file_are_not_two_officers(scene_of_two):
    """A verdict carries one signature; with two it is refused as a whole."""
    scene = scene_of_two
    query_hash = scene.asked()
    both = sign(scene.verdict(query_hash), *scene.keys)
    verdict_path(scene.member.config.state, query_hash, Digest(bytes(32))).write_text(to_json(both))
    scene.is_without_effect(query_hash, "carries 2 signatures")


def test_policy_edited_while_running(scene):
    """Rules, officers and budgets of a running node are those that it was started with, until it is started again."""
    query_hash = scene.asked()
    path = scene.member.config.policy
    before = path.read_text()
    outsider = KeySigner(Ed25519PrivateKey.generate())
    edited = before.replace(public(scene.keys[0]), public(outsider)).replace(
        'approval = "manual"', 'approval = "automatic"'
    )
    path.write_text(edited.replace('epsilon_per_year = "10"', 'epsilon_per_year = "1000"'))
    scene.leave(scene.verdict(query_hash), outsider)
    scene.is_without_effect(query_hash, "no officer")
    later = scene.asked("bob")
    scene.leave(scene.verdict(later), scene.keys[0])
    (decision,) = scene.take()
    assert (decision.query_hash, decision.outcome) == (later, Outcome.ADMITTED)
    manifest = scene.members.manifest
    limits = scene.member.gate.policy.limits("nominal_records", manifest)
    assert manifest.epsilon(limits.period) == pytest.approx(10, rel=1e-3)
    path.write_text(before)


def test_an_approved_query_is_examined_anew(scene):
    """What holds when the officer signs decides: a node that was paused meanwhile declines, and charges nothing."""
    query_hash = scene.asked()
    scene.member.config.pause_file.touch()
    scene.leave(scene.verdict(query_hash), scene.keys[0])
    (decision,) = scene.take()
    assert (decision.outcome, decision.code) == (Outcome.DECLINED, DeclineCode.PAUSED)
    scene.member.config.pause_file.unlink()
    assert scene.take() == []


@pytest.mark.parametrize("when", ["before the node looked", "after it was recorded", "after it was decided"])
def test_kill_around_an_approval(scene, when):
    """A file that is taken up twice, or whose decision was lost on its way, leads to one decision and one charge."""
    query_hash = scene.asked()
    scene.leave(scene.verdict(query_hash), scene.keys[0])
    (path,) = approvals_folder(scene.member.config.state).iterdir()
    text = path.read_text()
    if when == "after it was recorded":
        scene.member.tasks._desk._record(from_json(text), int(scene.members.now))
    elif when == "after it was decided":
        scene.member.tasks.take_approvals(lambda *_: None)
        path.write_text(text)
    scene.members.restart_node(FORCE)
    scene.members.restart_coordinator()
    scene.pass_on()
    scene.take()
    scene.members.settle()
    assert scene.outcome(query_hash) == "ADMITTED"
    assert len(scene.member.ledger.notes(ENTRY)) == 1
    assert [number for row in scene.member.ledger.history() for number, _ in row.charges] == [1]
    assert json.loads(text)["payloadType"].endswith("approval.v1+protobuf")
