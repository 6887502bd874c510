"""What a force's own people see and type: waiting queries, verdicts, rehearsals, pauses and the history."""

import csv
import io
import json
import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from members import COUNT, PURPOSE, Analyst, Members

from cordon.cli import run
from cordon.envelope import KeySigner
from cordon.keyfile import read_signing_key, write_private_key
from cordon.wire.messages import Approval, Submission, Verdict
from node.approvals import verdict_path, write_verdict
from node.history import S62_FIELDS
from node.office import Office
from node.pausing import is_paused
from node.rehearsal import Asking, rehearse

FORCE = "kent"
ROLES = "SELECT role, COUNT(*) FROM nominals GROUP BY role"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where the federation and the officers' keys lie."""
    return tmp_path_factory.mktemp("officers")


@pytest.fixture(scope="module")
def keys(root):
    """Files of two officers' keys."""
    made = {}
    for name in ("A. Ames", "B. Birch"):
        private = Ed25519PrivateKey.generate()
        path = root / f"{name[0]}.key"
        write_private_key(path, private)
        made[name] = (path, private.public_key().public_bytes_raw().hex())
    return made


@pytest.fixture(scope="module")
def members(root, keys):
    """Five forces; at one of them two officers decide about nominals, and `age` is closed."""
    made = Members(root / "federation")
    path = made.members[FORCE].config.policy
    officers = ", ".join(f'{{name = "{name}", key = "{key}"}}' for name, (_, key) in keys.items())
    rules = f'approval_datasets = ["nominals"]\nclosed_columns = ["age"]\nofficers_needed = 2\nofficer = [{officers}]\n'
    path.write_text(rules + path.read_text())
    made.restart_node(FORCE)
    yield made
    made.close()


@pytest.fixture
def office(members):
    """The force's files, as its own people's commands read them."""
    with Office.open(members.layout.node_config(FORCE)) as opened:
        yield opened


@pytest.fixture
def node(members, capsys):
    """Runs a command of the force's own people; its exit code and what it printed."""

    def command(*arguments):
        capsys.readouterr()
        config = str(members.layout.node_config(FORCE))
        code = run(["node", *arguments, "--config", config])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def asked(members):
    """A query that waits at the force for an hour; its hash."""
    analyst = Analyst(members)
    composed = analyst.compose(COUNT, attempts=2)
    terms = replace(composed.query.terms, decide_by=composed.query.terms.decide_by + 3600,
                    expires=composed.query.terms.expires + 3600)  # fmt: skip
    envelope = analyst.signed(replace(composed.query, terms=terms))
    submission = Submission(envelope, analyst.certificate, composed.public_key, wait=True)
    query_hash = members.run(members.queries.submit(submission, analyst.identity))
    while members.deliver():
        pass
    return query_hash


def take(members):
    """The node takes up what lies in its folder, and everything is played to its end."""
    told = []
    for answer in members.members[FORCE].tasks.take_approvals(lambda *said: told.append(said)):
        members.answer(FORCE, answer)
    members.settle()
    assert told == []


def answered(members, keys):
    """A query that both officers have approved, and that was answered; its hash."""
    query_hash = asked(members)
    state, now = members.members[FORCE].config.state, int(members.now)
    for path, _ in keys.values():
        signer = KeySigner(read_signing_key(path))
        approval = Approval(query_hash, FORCE, Verdict.APPROVE, "", now)
        write_verdict(verdict_path(state, query_hash, signer.key_id), approval, signer)
    take(members)
    return query_hash


def test_two_officers_approve_from_the_command_line_and_the_history_tells_it(members, keys, node, tmp_path):
    """Pending, two approvals, an answer; then the history names officers, cost, receipt and ciphertext."""
    query_hash = asked(members)
    code, out, _ = node("pending", "--format", "json")
    (waiting,) = [item for item in json.loads(out) if item["query"] == query_hash.hex()]
    assert (code, waiting["query"], waiting["analyst"]) == (0, query_hash.hex(), "alice")
    assert waiting["legal_basis"].startswith("Data Protection Act 2018, Part 3: ")
    assert waiting["signed_by"] == ["0 of 2 needed"]
    assert waiting["budget"].endswith("% of what is left this year")
    ames, birch = keys["A. Ames"][0], keys["B. Birch"][0]
    assert node("approve", query_hash.hex()[:12], "--key", str(ames))[0] == 0
    assert "A. Ames, 1 of 2 needed" in node("pending")[1]
    assert node("approve", query_hash.hex(), "--key", str(ames))[0] == 6, "the file lies there already"
    # The other one signs on another machine, with nothing but the id.
    left = tmp_path / "verdict.json"
    code, _, err = node("approve", query_hash.hex(), "--key", str(birch), "--force", FORCE, "--out", str(left))
    assert code == 0, err
    left.rename(members.members[FORCE].config.state / "approvals" / "from-birch.json")
    take(members)
    code, _, err = node("approve", query_hash.hex(), "--key", str(ames))
    assert (code, "does not wait" in err) == (3, True)
    assert query_hash.hex()[:16] not in node("pending")[1]

    (told,) = json.loads(node("history", "--format", "json", "--query", query_hash.hex()[:8])[1])["queries"]
    assert told["decision"] == "admitted"
    assert sorted(said["officer"] for said in told["officers"]) == ["A. Ames", "B. Birch"]
    assert told["left"][0]["receipt"] >= 1
    assert len(told["left"][0]["ciphertext_hash"]) == 64
    assert told["epsilon"] == pytest.approx(1, rel=1e-3)
    assert 0 < told["share_of_year"] < 0.1
    table = node("history")[1]
    assert "admitted" in table
    assert "ciphertext_hash" in node("history", "--query", query_hash.hex())[1]
    (line,) = csv.DictReader(io.StringIO(node("history", "--format", "csv", "--query", query_hash.hex())[1]))
    assert (line["query"], line["officers"].count("approve")) == (query_hash.hex(), 2)


def test_the_section_62_log_names_every_operation_and_refusal(members, keys, node, tmp_path):
    """Consultation, combination and disclosure with time, person, justification, recipient and receipt."""
    query_hash = answered(members, keys)
    refused = members.ask("SELECT COUNT(*) FROM nominals WHERE age > 30", epsilon="0.5")["query"]
    lines = []
    for query in (query_hash.hex(), refused):
        export = tmp_path / f"{query}.csv"
        assert node("history", "--query", query, "--s62", str(export))[0] == 0
        with export.open() as file:
            lines += csv.DictReader(file)
    assert tuple(lines[0]) == S62_FIELDS
    assert [line["operation"] for line in lines] == ["consultation", "combination", "disclosure", "none"]
    assert len({(line["identity"], line["receipt"]) for line in lines[:3]}) == 1
    assert lines[0]["identity"] == "alice"
    assert lines[0]["receipt"].isdigit()
    assert all("Data Protection Act 2018" in line["justification"] for line in lines)
    assert lines[2]["recipients"].startswith("alice")
    assert "does not let age be" in lines[3]["decision"]
    assert node("history", "--s62", str(export))[0] == 6, "an export is never overwritten"


def test_only_an_officer_decides_and_only_what_waits(members, keys, node, root):
    """The commands say what the node would refuse, before anything is written."""
    outsider = root / "outsider.key"
    write_private_key(outsider, Ed25519PrivateKey.generate())
    ames = str(keys["A. Ames"][0])
    query_hash = asked(members)
    assert node("approve", query_hash.hex(), "--key", str(outsider))[0] == 6
    assert node("approve", "ffffffff", "--key", ames)[0] == 6
    assert node("decline", query_hash.hex(), "--key", ames, "--reason", "two\nlines")[0] == 3
    assert node("approve", "ab", "--key", ames, "--force", FORCE)[0] == 6
    assert node("decline", query_hash.hex(), "--key", ames, "--reason", "not for this")[0] == 0
    take(members)
    (told,) = json.loads(node("history", "--format", "json", "--query", query_hash.hex())[1])["queries"]
    assert (told["decision"], told["code"]) == ("declined", "approval")
    assert told["text"] == "an officer of this force has declined the query: not for this"


@pytest.mark.parametrize(
    ("sql", "changes", "step", "code", "rule"),
    [
        ("SELECT COUNT(*) FROM nominals WHERE age > 30", {}, 6, "policy", "closed_columns"),
        ("SELECT COUNT(*) FROM stop_search", {}, 4, "not held", ""),
        (ROLES, {"purpose": "espionage"}, 3, "question", ""),
        (ROLES, {"epsilon": 3, "attempts": 3}, 5, "question", ""),
        ("SELECT COUNT(*) FROM nominals WHERE force IN ('essex', 'kent')", {}, 6, "policy", "allow_small_roster"),
        (ROLES, {}, 0, "", "approval_datasets"),
    ],
    ids=["rule", "holding", "purpose", "cost", "roster", "person"],
)
def test_a_rehearsal_names_step_code_and_rule(members, office, sql, changes, step, code, rule):
    """What would be decided follows from the gate's own steps, and names the first that fails."""
    asking = replace(Asking(sql, PURPOSE, 1, 1, "alice"), **changes)
    found = rehearse(asking, office, int(members.now))
    assert (found.step, found.code, found.rule) == (step, code, rule)
    assert found.decision == ("declined" if step else "awaiting approval")


def test_a_rehearsal_agrees_with_what_the_node_decides(members, office):
    """The same question, asked by an analyst, meets the same code and the same public text."""
    sql = "SELECT COUNT(*) FROM nominals WHERE age > 50"
    found = rehearse(Asking(sql, PURPOSE, 1, 1, "alice"), office, int(members.now))
    declined = {item["force"]: item for item in members.ask(sql)["declined"]}[FORCE]
    assert (found.code, found.text) == (declined["code"], declined["text"])


def test_a_rehearsal_says_which_budget_would_be_exceeded(members, keys, office):
    """A sub-limit binds an analyst who has spent under it, and nobody else."""
    answered(members, keys)
    budget = office.policy.budget["nominal_records"].model_copy(update={"epsilon_per_analyst": 1})
    policy = office.policy.model_copy(update={"budget": {"nominal_records": budget}})
    strict = replace(office, policy=policy)
    spent = rehearse(Asking(ROLES, PURPOSE, 1, 1, "alice"), strict, int(members.now))
    assert (spent.step, spent.code, spent.rule) == (8, "budget", "budget")
    assert "what one analyst may spend in a year" in spent.text
    fresh = rehearse(Asking(ROLES, PURPOSE, 1, 1, "bob"), strict, int(members.now))
    assert fresh.decision == "awaiting approval"


def test_the_policy_can_be_tried_and_read_from_the_command_line(members, node):
    """`policy test` prints the decision and its rule, `policy show` each rule in words."""
    code, out, _ = node("policy", "test", ROLES, "--format", "json")
    assert (code, json.loads(out)["decision"]) == (0, "awaiting approval")
    assert "closed_columns" in node("policy", "test", "SELECT SUM(age) FROM nominals")[1]
    assert node("policy", "test", "SELECT nothing FROM nominals")[0] == 3
    shown = node("policy", "show")[1]
    assert "2 of A. Ames, B. Birch must approve: data set nominals" in shown
    assert "budget.nominal_records: epsilon 10 a year, 100 ever" in shown


def test_a_pause_is_signed_kept_and_named_in_the_history(members, keys, node):
    """An officer pauses and the force's own key resumes; both orders move into the ledger, once."""
    pause_file = members.members[FORCE].config.pause_file
    assert node("pause", "--key", str(keys["A. Ames"][0]), "--reason", "a complaint")[0] == 0
    assert is_paused(pause_file)
    assert node("pause")[2] == "it is paused already\n"
    before = json.loads(node("history", "--format", "json")[1])["pauses"]
    take(members)
    assert node("resume")[0] == 0
    assert not is_paused(pause_file)
    take(members)
    told = json.loads(node("history", "--format", "json")[1])["pauses"]
    assert told[:1] == before
    assert [(item["order"], item["by"], item["reason"]) for item in told] == [
        ("pause", "A. Ames", "a complaint"), ("resume", "the force's own key", ""),
    ]  # fmt: skip
    assert "pause by A. Ames: a complaint" in node("history")[1]


def test_a_force_can_pause_whatever_else_is_damaged(members, node):
    """Ledger, manifest and policy away, the force's own key still pauses its node."""
    config = members.members[FORCE].config
    hidden = (config.ledger, config.manifest, config.policy)
    for path in hidden:
        path.rename(path.with_name(f"{path.name}.away"))
    try:
        assert node("pause")[0] == 0
        assert is_paused(config.pause_file)
        assert node("resume")[0] == 0
    finally:
        for path in hidden:
            path.with_name(f"{path.name}.away").rename(path)
    assert not is_paused(config.pause_file)


def test_a_pause_by_nobody_pauses_and_is_not_put_down_to_anybody(members, node, root):
    """A stranger's key is refused at the command line; a file that says nothing pauses all the same."""
    stranger = root / "stranger.key"
    write_private_key(stranger, Ed25519PrivateKey.generate())
    assert node("pause", "--key", str(stranger))[0] == 6
    pause_file = members.members[FORCE].config.pause_file
    pauses = len(json.loads(node("history", "--format", "json")[1])["pauses"])
    for make in (lambda: pause_file.touch(mode=0), pause_file.mkdir, lambda: pause_file.symlink_to("nowhere")):
        make()
        assert is_paused(pause_file)
        pause_file.rmdir() if pause_file.is_dir() else pause_file.unlink()
    assert not is_paused(pause_file)
    assert is_paused(pause_file.with_name("x" * 300)), "where it cannot be told, it is paused"
    left = pause_file.parent / "pauses" / "1.pause.0.json"
    left.parent.mkdir(exist_ok=True)
    left.write_text(json.dumps({"payload": "", "payloadType": "", "signatures": []}))
    told = []
    members.members[FORCE].tasks.take_approvals(lambda *said: told.append(said))
    assert [name for name, _ in told] == [left.name]
    assert len(json.loads(node("history", "--format", "json")[1])["pauses"]) == pauses
    assert not os.path.lexists(left)
