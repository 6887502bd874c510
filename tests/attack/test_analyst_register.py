"""Attacks on what an analyst is shown of the register, and on published answers.

Before anything is opened, and before a published answer stands for a question, the register must show it.
"""

import base64
import json
from dataclasses import replace

import pytest
from members import COUNT, Analyst, Members

from cordon.analyst.document import read_document
from cordon.analyst.known import offered, open_library
from cordon.analyst.publish import prepare, publish
from cordon.analyst.releases import verified_release, verified_releases
from cordon.envelope import ANSWER, commitment, seal
from cordon.errors import CordonError, Misconfigured, Refused, Untrusted
from cordon.query.sql import parse_sql
from cordon.register.checkpoint import write_checkpoint
from cordon.register.leaf import Checkpoint, PublishedAnswer
from cordon.register.merkle import consistency_proof, inclusion_proof, leaf_hash, node_hash, root_of
from cordon.sealing import bfv
from cordon.units import Digest
from cordon.wire import codec, services
from cordon.wire.proofs import Inclusion, Opening, Proof
from cordon.wire.signed import sign

NOBODY = Digest(bytes(32))


class AnotherRegister:
    """A coordinator that proves everything of a register of its own making, and signs it."""

    def __init__(self, members, leaves):
        self.members, self.leaves = members, leaves

    def node(self, level, index):
        """Hash of a complete subtree."""
        if level == 0:
            return self.leaves[index]
        return node_hash(self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1))

    def prove(self, request):
        """As the genuine notary answers."""
        size = len(self.leaves)
        if request.old_size > size:
            raise Refused(f"the register has {size} leaves, fewer than asked")
        manifest = self.members.manifest
        checkpoint = Checkpoint(size, root_of(size, self.node))
        signer = self.members.coordinator._queries._signer
        note = write_checkpoint(manifest.origin, checkpoint, manifest.coordinator_public, signer, int(self.members.now))
        places = {digest: at for at, digest in enumerate(self.leaves)}
        shown = [
            Inclusion(digest, places[digest], inclusion_proof(places[digest], size, self.node))
            for digest in request.leaf_hashes
            if digest in places
        ]
        return Proof(note, consistency_proof(request.old_size, size, self.node), (), tuple(shown))


def hashes(members):
    """Of the genuine register's leaves."""
    register = members.store.register
    return [leaf_hash(leaf) for leaf in register.read(0, register.size)]


def show(client, prove):
    """Let the coordinator answer Prove otherwise."""
    honest = client._channel.call

    def call(method, request, *, timeout):
        if method is services.PROVE:
            return prove(request, lambda: honest(method, request, timeout=timeout))
        return honest(method, request, timeout=timeout)

    client._channel.call = call


def ask_shown(members, monkeypatch, prove):
    """Ask with a client to which Prove is answered otherwise; nothing may be opened."""
    original = members.client

    def lied_to(analyst="alice"):
        client = original(analyst)
        show(client, prove)
        return client

    with monkeypatch.context() as lying:
        lying.setattr(members, "client", lied_to)
        lying.setattr(bfv.Opener, "open", lambda *_: pytest.fail("a sum was opened that the register does not show"))
        members.ask()


def follow_newest(members):
    """Open the newest query, honestly."""
    query = members.store._queries("")[-1]
    return members.client().follow(query.query_hash, members.federation, on_event=lambda _: None)


def workspace(members, name="alice"):
    """An analyst's workspace."""
    return members.layout.profile(name).parent / "workspace"


# What is shown before a sum is opened


def test_a_forked_register_is_not_opened_and_the_evidence_is_kept(members, monkeypatch):
    """A register that differs in an early leaf proves everything asked; the analyst's own checkpoint gives it away."""
    members.ask()

    def forked(request, _):
        return AnotherRegister(members, [NOBODY, *hashes(members)[1:]]).prove(request)

    with pytest.raises(Untrusted, match="another register than before"):
        ask_shown(members, monkeypatch, forked)

    (evidence,) = workspace(members).glob("evidence-*.json")
    notes = json.loads(evidence.read_text())
    assert notes["accepted"].startswith(members.manifest.origin)
    assert notes["shown"].startswith(members.manifest.origin)
    assert notes["accepted"] != notes["shown"]
    assert len(follow_newest(members)["answered"]) == 5


def test_a_register_that_was_set_back_is_not_opened(members, monkeypatch):
    """A register that ends before what the analyst has seen is refused, and its checkpoint kept."""
    before = hashes(members)
    members.ask()

    with pytest.raises(Untrusted, match="fewer than"):
        ask_shown(members, monkeypatch, lambda request, _: AnotherRegister(members, before).prove(request))

    assert len(list(workspace(members).glob("evidence-*.json"))) == 1
    assert len(follow_newest(members)["answered"]) == 5


def test_a_fork_is_opened_without_the_kept_checkpoint(members, monkeypatch):
    """The twin: an analyst who forgot what was seen before opens what a forked register shows."""
    members.ask()
    for path in workspace(members).glob("checkpoint-*.json"):
        path.unlink()
    fork = AnotherRegister(members, [])
    original = members.client

    def lied_to(analyst="alice"):
        client = original(analyst)

        def forked(request, _):
            fork.leaves = [NOBODY, *hashes(members)[1:]]
            return fork.prove(request)

        show(client, forked)
        return client

    monkeypatch.setattr(members, "client", lied_to)
    assert len(members.ask()["answered"]) == 5


@pytest.mark.parametrize("lacking", [0, 3, -1], ids=["roster", "receipt", "sum"])
def test_a_leaf_that_is_withheld_keeps_the_sum_closed_until_it_is_shown(members, monkeypatch, lacking):
    """Roster, every receipt and the sum must be shown; the query can be opened later, once they are."""

    def withheld(_, honest):
        proof = honest()
        shown = list(proof.inclusions)
        del shown[lacking]
        return replace(proof, inclusions=tuple(shown))

    with pytest.raises(Untrusted, match="is not shown in the register"):
        ask_shown(members, monkeypatch, withheld)

    answer = follow_newest(members)
    assert answer["register"]["leaf"] < answer["register"]["size"] == members.store.register.size


def test_a_proof_of_another_leaf_is_refused(members, monkeypatch):
    """An inclusion proof that belongs to another leaf does not show this one."""

    def swapped(_, honest):
        proof = honest()
        first, second, *rest = proof.inclusions
        return replace(proof, inclusions=(replace(first, hashes=second.hashes, index=second.index), second, *rest))

    with pytest.raises(Untrusted):
        ask_shown(members, monkeypatch, swapped)


@pytest.mark.parametrize("content", ["", "{}", '{"size": -1, "root": "zz", "time": 0, "note": ""}'])
def test_a_damaged_checkpoint_is_not_an_empty_one(members, content):
    """What was seen before is not forgotten because its file cannot be read."""
    members.ask()
    (path,) = workspace(members).glob("checkpoint-*.json")
    path.write_text(content)
    with pytest.raises(Misconfigured, match="damaged"):
        members.ask()


def test_the_analysts_copy_is_of_the_register_that_answers_were_shown_in(members):
    """A coordinator that serves another register to be read than it proved answers in is found out."""
    members.ask()
    client = members.client()
    other = [NOBODY, *hashes(members)[1:], NOBODY]
    show(client, lambda request, _: AnotherRegister(members, other).prove(request))
    with open_library(client) as library, pytest.raises(Untrusted, match="another register than before"):
        library.catch_up(client._channel, client.line(members.manifest))


# Published answers


@pytest.fixture
def published(members):
    """Alice has asked and published."""
    return ask_and_publish(members)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Alice has asked and published: the federation, the answer, and what the register holds of it; not changed."""
    made = Members(tmp_path_factory.mktemp("release") / "federation")
    answer = ask_and_publish(made)
    (item,) = library_of(made)
    yield made, answer, item
    made.close()


def ask_and_publish(members):
    """Alice's published answer."""
    answer = members.ask()
    client = members.client()
    prepared = prepare(client, members.federation, Digest(bytes.fromhex(answer["query"])))
    assert prepared.added
    publish(client, members.federation, prepared)
    return answer


def library_of(members, analyst="bob"):
    """An analyst's copy of the register, brought up to date."""
    client = members.client(analyst)
    with open_library(client) as library:
        library.catch_up(client._channel, client.line(members.manifest))
        return library.published()


def offer(members, sql=COUNT, federation=None, analyst="bob"):
    """What an analyst is offered for a question, and the warnings."""
    federation = federation or members.federation
    client = members.client(analyst)
    warnings = []
    statement = parse_sql(sql, federation.versions, list(members.manifest.by_id))
    with open_library(client) as library:
        library.catch_up(client._channel, client.line(members.manifest))
        return offered(library, federation, statement, warnings.append), warnings


def test_the_same_question_on_the_same_records_is_offered_to_another_analyst(members, published):
    """Published, read by Bob, and offered for the same question: the very answer, with who published it."""
    found, warnings = offer(members)
    assert (found.analyst, warnings) == ("alice", [])
    assert found.answer == published
    assert found.as_dict()["published"]["by"] == "alice"


def test_publishing_twice_says_the_same_and_adds_one_leaf(members, published):
    """The second time nothing is added to the register, and the same leaf is shown."""
    size = members.store.register.size
    client = members.client()
    prepared = prepare(client, members.federation, Digest(bytes.fromhex(published["query"])))
    leaf = publish(client, members.federation, prepared)
    assert members.store.register.size == size
    assert [item.leaf_index for item in library_of(members)] == [leaf]


def test_another_question_is_not_offered(members, published):
    """Fewer forces, or another filter, is another question."""
    assert offer(members, "SELECT COUNT(*) FROM nominals") == (None, [])
    assert offer(members, COUNT.replace("GROUP", "WHERE force <> 'kent' GROUP")) == (None, [])


def test_an_answer_that_shows_something_else_of_the_same_question_is_not_offered(members, published):
    """Whoever published it asked honestly for other columns: the question that travels is the same."""
    assert offer(members, COUNT.replace("COUNT(*)", "80000 - COUNT(*)", 1)) == (None, [])
    assert offer(members, f"{COUNT} LIMIT 1") == (None, [])


@pytest.mark.parametrize("change", ["load_id", "as_at", "gone"])
def test_another_vintage_is_not_offered(members, published, change):
    """One force of the answer that has loaded its records anew, or is not connected, and nothing is offered."""
    federation = members.federation
    (held,) = federation.holdings["kent"]
    if change == "gone":
        del federation.holdings["kent"]
    else:
        other = {"load_id": bytes(16), "as_at": "1999-01-01"}[change]
        federation.holdings["kent"] = (replace(held, **{change: other}),)
    assert offer(members, federation=federation) == (None, [])


def test_an_answer_is_found_once_its_embargo_has_passed_though_no_leaf_is_new(members, published):
    """Before, nobody but auditors is served it; after, the copy that was read before finds it."""
    day_on = int(members.now) + 86_400
    members.store._connection.execute("UPDATE opening SET public_from = ? WHERE query_hash <> x''", (day_on,))
    size = members.store.register.size
    assert offer(members) == (None, [])
    members.now = day_on
    found, warnings = offer(members)
    assert (found.answer, warnings) == (published, [])
    assert members.store.register.size == size


def test_an_answer_is_not_published_by_another_analyst(members, published):
    """Bob signs an answer of Alice's query and a lying coordinator registers it: it is no release."""
    answer = members.ask("SELECT COUNT(*) FROM nominals")
    bob = Analyst(members, "bob")
    document = seal(ANSWER, b"{}", bob.signer)
    said = PublishedAnswer(Digest(bytes.fromhex(answer["query"])), 1, commitment(ANSWER, document.payload))
    with pytest.raises(Untrusted):
        members.client("bob").channel.call(
            services.PUBLISH, services.proofs.Publication(sign(said, bob.signer), document), timeout=1
        )
    register(members, sign(said, bob.signer), document)
    assert [item.query_hash.hex() for item in library_of(members)] == [published["query"]]


def register(members, leaf, document):
    """A coordinator puts a publication in its register without looking."""

    def change():
        store = members.store.register
        store.open(Opening(store.append(leaf), document=document), public_from=0)

    members.run(members.store.write(change))


def test_a_changed_answer_under_a_genuine_leaf_is_not_offered(members, published):
    """The coordinator serves other bytes for a genuine leaf: they are not what it commits to."""
    row = members.store._rows("SELECT number, bytes FROM opening ORDER BY number DESC LIMIT 1")[0]
    opening = codec.decode(Opening, row[1])
    changed = opening.document.payload.replace(b'"attempts_charged":1', b'"attempts_charged":2')
    assert changed != opening.document.payload
    forged = replace(opening, document=replace(opening.document, payload=changed))
    members.store._connection.execute("UPDATE opening SET bytes = ? WHERE number = ?", (codec.encode(forged), row[0]))
    assert offer(members) == (None, [])


def changed(members, item, change):
    """A publication that its own analyst signs, with something in it changed."""
    form = json.loads(item.document.payload)
    change(form)
    signer = Analyst(members, "alice").signer
    document = seal(ANSWER, json.dumps(form).encode(), signer)
    said = PublishedAnswer(item.query_hash, 1, commitment(ANSWER, document.payload))
    return replace(item, document=document, leaf=sign(said, signer))


CHANGES = {
    "epsilon": lambda form: form["answer"]["epsilon"].update(charged=0.001),
    "rho": lambda form: form["answer"].update(rho="0.000001"),
    "forces": lambda form: form["answer"].update(answered=form["answer"]["answered"][1:]),
    "statement": lambda form: form["answer"].update(sql="SELECT COUNT(*) FROM nominals"),
    "question": lambda form: form.update(question="00" * 32),
    "a row less": lambda form: form["answer"]["rows"].pop(),
    "a row's name": lambda form: form["answer"]["rows"][0].update(keys=["[blink]Suspect"]),
    "no value": lambda form: form["answer"]["rows"][0].update(values=[]),
    "infinite": lambda form: form["answer"]["rows"][0]["values"][0].update(estimate=float("inf")),
    "escape": lambda form: form["answer"].update(checked="\x1b[2J"),
    "unknown field": lambda form: form["answer"].update(more=1),
    "caveat": lambda form: form["answer"].update(caveat="all is well"),
    "certificate": lambda form: form.update(certificate=""),
    "no base64": lambda form: form.update(query="…"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_a_publication_says_is_held_against_query_and_register(release, change):
    """Its own analyst signs a publication whose form or claims do not hold: it is ignored, with a warning."""
    members, answer, item = release
    assert verified_release(item, members.catalogue).answer == answer
    releases, warnings = verified_releases([changed(members, item, change)], members.catalogue)
    assert releases == []
    assert len(warnings) == 1
    assert f"leaf {item.leaf_index} is ignored" in warnings[0]


def test_a_publication_by_another_certified_key_is_refused(release):
    """Bob's certificate and signatures throughout, over Alice's query: not who asked."""
    members, _, item = release
    bob = Analyst(members, "bob")
    form = json.loads(item.document.payload)
    form["certificate"] = base64.b64encode(bob.certificate).decode()
    document = seal(ANSWER, json.dumps(form).encode(), bob.signer)
    said = PublishedAnswer(item.query_hash, 1, commitment(ANSWER, document.payload))
    with pytest.raises(Untrusted, match="another analyst"):
        verified_release(replace(item, document=document, leaf=sign(said, bob.signer)), members.catalogue)


def test_another_answer_to_the_same_query_is_refused_under_its_leaf(release):
    """The analyst signs two answers, and the leaf commits to one of them."""
    members, answer, item = release
    other = changed(members, item, lambda form: form["answer"]["rows"].reverse())
    with pytest.raises(Untrusted, match="not the answer that its leaf commits to"):
        verified_release(replace(item, document=other.document), members.catalogue)
    assert read_document(item.document.payload).answer == answer


# Who may publish


def test_only_opened_own_answers_are_published(members, monkeypatch):
    """A query that was not opened, and one that another key has asked, are refused."""

    class Died(Exception):
        pass

    def die(*_):
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(bfv.Opener, "open", die)
        with pytest.raises(Died):
            members.ask()
    query_hash = members.store._queries("")[-1].query_hash
    client = members.client()
    with pytest.raises(Refused, match="was not opened"):
        prepare(client, members.federation, query_hash)
    client._signer = Analyst(members, "bob").signer
    with pytest.raises(Refused, match="another key"):
        prepare(client, members.federation, query_hash)
    with pytest.raises(Refused, match="not asked from here"):
        prepare(client, members.federation, NOBODY)


def test_contributions_are_added_again_before_an_answer_is_published(members):
    """A kept contribution that was changed stops it; ones that are gone must be allowed for by name."""
    answer = members.ask()
    query_hash = Digest(bytes.fromhex(answer["query"]))
    client = members.client()
    client._channel.replace["Contributions"] = lambda parts: [
        bytes(len(part)) if isinstance(part, bytes) else part for part in parts
    ]
    with pytest.raises(CordonError, match="changed it"):
        prepare(client, members.federation, query_hash)
    members.run(members.store.write(lambda: members.store.forget_contributions(members.now + 1)))
    client = members.client()
    with pytest.raises(Refused, match="not kept any more"):
        prepare(client, members.federation, query_hash)
    assert not prepare(client, members.federation, query_hash, without_adding=True).added
