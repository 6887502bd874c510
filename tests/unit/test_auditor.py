"""`cordon audit`: what its commands print, what they exit with, and what they say to a person who is mistaken."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from registers import DOMAIN, RHO, YEAR, Party, Register
from registerserver import Coordinator, serving

from cordon.auditor import cli as audit
from cordon.cli import run
from cordon.reading.mirror import FILE, Mirror
from cordon.register.leaf import DeclineCode, Outcome
from cordon.units import Rho


@pytest.fixture
def register():
    """Two queries were answered and a third failed once; one force declined it."""
    made = Register(stated=False)
    for force in made.forces:
        made.state(force, period_limit=Rho(10 * RHO), lifetime_limit=Rho(20 * RHO))
    made.publish(made.round())
    made.round("bob")
    made.failed = made.ask(attempts=1)
    made.decide(made.failed, "kent", Outcome.DECLINED, DeclineCode.POLICY, text="not in this month")
    made.roster(made.failed, 1, ("essex", "norfolk", "suffolk"))
    made.receipt(made.failed, 1, "essex")
    made.fail(made.failed, 1, ("norfolk", "suffolk"))
    made.end(made.failed)
    return made


@pytest.fixture
def cordon(register, tmp_path, capsys, monkeypatch):
    """Run `cordon audit …` on the register as it is published now; gives (exit code, output, errors)."""
    monkeypatch.setenv("CORDON_AUDITOR", str(tmp_path / "no-profile.toml"))
    keys = [word for key in register.governance_keys for word in ("--governance-key", key)]

    def call(command, *words, published=True, trusted=keys, **settings):
        folder = str(register.write(tmp_path / "published", **settings))
        place = ([folder] if command == "verify" else ["--source", folder]) if published else []
        code = run(["audit", command, *words, *place, *trusted])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_an_honest_register_exits_with_zero(cordon, register):
    """`verify` says ok for every check, and counts what it has verified."""
    code, out, err = cordon("verify")

    assert (code, err) == (0, "")
    assert "no discrepancy" in out
    assert f"{len(register.leaves)} leaves" in out
    assert "wrong" not in out
    found = json.loads(cordon("verify", "-f", "json")[1])
    assert (found["verdict"], found["counts"]["receipts"], found["counts"]["forces"]) == ("ok", 11, 5)


def test_a_discrepancy_exits_with_four_and_is_written(cordon, register, tmp_path):
    """`verify` names the first discrepancy with its leaf, counts the others, and writes the leaf as evidence."""
    asked = register.ask()
    register.roster(asked)
    leaf = register.receipt(asked, 1, "kent", signer=register.coordinator.signer)
    register.receipt(asked, 1, "essex", signer=register.coordinator.signer)
    code, out, _ = cordon("verify", "--evidence", str(tmp_path / "evidence"))

    assert code == 4
    assert f"DISCREPANCY at leaf {leaf}: " in out
    assert out.rstrip().endswith("; 1 more")
    assert (tmp_path / "evidence" / f"leaf-{leaf}").read_bytes() == register.leaves[leaf]
    assert json.loads((tmp_path / "evidence" / "discrepancies.json").read_text())[0]["leaf"] == leaf
    assert json.loads(cordon("verify", "-f", "json")[1])["first_discrepancy"]["leaf"] == leaf


def test_other_commands_warn_of_a_discrepancy(cordon, register):
    """What is read from a register that does not hold is printed under a warning, and exits with 4."""
    register.decide(register.failed, "essex", signer=register.coordinator.signer)
    code, out, err = cordon("budget")

    assert code == 4
    assert "warning: the register has a discrepancy" in err
    assert "kent" in out


def test_budgets_are_what_receipts_add_up_to(cordon):
    """Spent, limits, what is left, what failed, and the day on which it ends, by force and domain."""
    code, out, _ = cordon("budget", "-f", "json", after=86_400)
    rows = {row["force"]: row for row in json.loads(out)}

    assert code == 0
    essex, kent = rows["essex"], rows["kent"]
    assert (essex["domain"], essex["year"]) == (DOMAIN, YEAR)
    assert (essex["spent_rho"], essex["failed_rho"], essex["period_left_rho"]) == ("0.03", "0.01", "0.07")
    assert (kent["spent_rho"], kent["lifetime_left_rho"], kent["period_limit_rho"]) == ("0.02", "0.18", "0.1")
    assert essex["spent_epsilon"] > kent["spent_epsilon"] > 0
    assert essex["rho_a_day"].startswith("0.02")
    assert essex["exhausted_on"] < kent["exhausted_on"]
    assert kent["analyst_limit_rho"] == kent["failed_limit_rho"] == "1000"


def test_budgets_are_narrowed_and_turned(cordon):
    """One force's spending, by analyst and purpose; and its domains together, for ever."""
    _, out, _ = cordon("budget", "--force", "essex", "--by", "analyst", "-f", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["analyst"], row["charges"], row["rho"]) for row in rows] == [
        ("alice", "2", "0.02"),
        ("bob", "1", "0.01"),
    ]
    _, out, _ = cordon("budget", "--force", "essex", "--by", "force", "-f", "csv")
    assert [(row["force"], row["domains"], row["rho"]) for row in csv.DictReader(io.StringIO(out))] == [
        ("essex", "1", "0.03")
    ]
    assert cordon("budget", "--year", "1999", "-f", "json")[1] == "[]\n"
    assert cordon("budget", "--by", "colour")[0] == 2


def test_a_query_has_its_whole_life(cordon, register):
    """Every leaf about a query, the words of a decision, and the question in words."""
    code, out, _ = cordon("query", register.failed.hash.hex()[:12], "-f", "json")
    life = json.loads(out)

    assert code == 0
    assert life["question"].startswith("COUNT(*) of nominals v1")
    assert life["analyst"] == "alice"
    events = [(event["event"], event["who"]) for event in life["events"]]
    assert events == [
        ("submitted", "coordinator"), ("decision", "kent"), ("roster", "coordinator"), ("receipt", "essex"),
        ("failed", "coordinator"), ("ended", "coordinator"),
    ]  # fmt: skip
    assert life["events"][1]["what"] == "declined, policy: not in this month"
    assert "not in this month" in cordon("query", register.failed.hash.hex())[1]
    code, _, err = cordon("query", "")
    assert (code, "queries begin with" in err) == (3, True)


def test_the_export_has_a_row_for_each_force_and_query(cordon):
    """The section 62 fields: what was done, why, when, by whom, for whom."""
    code, out, _ = cordon("export")
    rows = list(csv.DictReader(io.StringIO(out)))

    assert code == 0
    assert len(rows) == 15
    assert (rows[0]["consulted_by"], rows[0]["recipients"], rows[0]["data_set"]) == (
        "alice",
        "alice, the public",
        "nominals",
    )
    assert rows[0]["justification"] == "Research: DPA 2018 s.41"
    assert rows[5]["recipients"] == "bob"
    last = {row["force"]: row for row in rows[10:]}
    assert (last["kent"]["decision"], last["kent"]["attempts_charged"]) == ("declined, policy", "0")
    assert last["kent"]["operation"].startswith("none")
    assert (last["essex"]["operation"], last["essex"]["recipients"]) == ("consultation; nothing could be read", "")
    assert rows[0]["operation"] == "consultation, and disclosure of noised totals"


def test_an_embargoed_query_is_exported_without_its_question(cordon, register):
    """What is not opened yet stands in the log without its question, by its analyst's key if never named."""
    register.analysts["carol"] = Party()
    asked = register.ask("carol", purpose="live", opened=False)
    rows = list(csv.DictReader(io.StringIO(cordon("export")[1])))

    assert rows[-1]["question"] == rows[-1]["data_set"] == ""
    assert rows[-1]["consulted_by"] == f"key {register.analysts['carol'].signer.key_id.hex()}"
    life = json.loads(cordon("query", asked.hash.hex(), "-f", "json")[1])
    assert life["question"] == life["analyst"] == ""


def test_a_mirror_is_judged_offline(cordon, register, tmp_path):
    """With a mirror, `--offline` needs no source; what it prints is what was read before."""
    mirror = ["--mirror", str(tmp_path / "mirror")]
    assert cordon("verify", "--offline", *mirror, published=False)[0] == 5
    assert cordon("verify", *mirror)[0] == 0
    register.round()
    code, out, _ = cordon("verify", "--offline", *mirror, "-f", "json", published=False)
    assert (code, json.loads(out)["new_leaves"]) == (0, 0)
    found = json.loads(cordon("verify", *mirror, "-f", "json")[1])
    assert found["new_leaves"] == found["size"] - json.loads(out)["size"] == 13


def test_mistakes_are_told(cordon, tmp_path):
    """Without keys, with bad keys, from nowhere: a sentence, a hint and the exit code of the mistake."""
    code, _, err = cordon("verify", trusted=[])
    assert (code, "hint: " in err) == (6, True)
    code, _, err = cordon("verify", trusted=["--governance-key", "abc"])
    assert (code, "64 lower-case hexadecimal" in err) == (6, True)
    code, _, err = cordon("verify", str(tmp_path / "nowhere"), published=False)
    assert (code, "neither a folder" in err) == (6, True)
    code, _, err = cordon("verify", "ftp://example.org/", published=False)
    assert (code, "neither a folder" in err) == (6, True)
    code, _, err = cordon("verify", str(tmp_path), published=False)
    assert (code, "checkpoint" in err) == (5, True)
    code, _, err = cordon("verify", trusted=["--governance-key", "0" * 63 + "1"])
    assert code == 4


def test_a_damaged_mirror_is_named(cordon, tmp_path):
    """A mirror that is no database is told, with the remedy; nothing of it is believed."""
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / FILE).write_bytes(b"damaged" * 1000)
    code, _, err = cordon("verify", "--mirror", str(tmp_path / "mirror"))
    assert (code, "read anew" in err) == (6, True)


def test_a_cell_is_never_a_formula():
    """A spreadsheet computes nothing of what somebody else has written."""
    assert audit._cell("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert audit._cell("-1") == "'-1"
    assert audit._cell(0.8123456) == "0.812"
    assert audit._cell(None) == ""


def test_what_others_wrote_does_not_command_a_terminal(cordon, register):
    """Control characters in a force's domain are shown as replaced."""
    asked = register.ask()
    register.roster(asked)
    register.receipt(asked, 1, "kent", domain="a\x1b[2Jb")
    _, out, err = cordon("budget", "--by", "force")
    assert "\x1b[2J" not in out + err
    assert "\x1b[2J" not in cordon("query", asked.hash.hex())[1]
    assert "a\ufffd[2Jb" in cordon("query", asked.hash.hex())[1]


def test_two_readings_of_one_mirror_do_not_mix(cordon, register, tmp_path):
    """A mirror that somebody else is writing is told, and stays whole."""
    words = ["--mirror", str(tmp_path / "mirror")]
    assert cordon("verify", *words)[0] == 0
    register.round()
    with Mirror(tmp_path / "mirror" / FILE) as other:
        other.set("folded", 5)
    code, _, err = cordon("verify", *words)
    assert (code, "cannot be used" in err or "under way" in err) == (6, True)


def test_an_auditor_reads_from_the_coordinator(register, tmp_path, capsys):
    """Over TLS, page by page: everything is opened at once, contributions are added again, and later is incremental."""
    register.round(ciphertexts=True)
    register.ask(purpose="live")
    coordinator = Coordinator(register)
    with serving(coordinator, tmp_path / "live") as profile:
        assert run(["audit", "verify", "--profile", str(profile), "-f", "json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["counts"]["leaves"] == found["new_leaves"] == len(register.leaves)
        assert found["contributions"] == {"added_again": 1, "not_had": 0, "not_kept": 2}
        coordinator.refuse_kept = True
        register.round()
        assert run(["audit", "verify", "--profile", str(profile), "-f", "json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["new_leaves"], found["contributions"]["not_kept"]) == (13, 3)
        coordinator.behind = 3000
        assert run(["audit", "verify", "--profile", str(profile)]) == 4
        assert "s old by this machine's clock" in capsys.readouterr().out
        coordinator.behind = 0
        hidden = register.ask(purpose="live", opened=False)
        assert run(["audit", "verify", "--profile", str(profile)]) == 4
        assert f"DISCREPANCY at leaf {hidden.leaf}: " in capsys.readouterr().out
        register.leaves.pop()
        assert run(["audit", "verify", "--profile", str(profile)]) == 4
        assert "was set back" in capsys.readouterr().out
    assert run(["audit", "verify", "--profile", str(profile)]) == 5
    assert "cannot reach the coordinator" in capsys.readouterr().err
    assert run(["audit", "verify", "--offline", "--profile", str(profile)]) == 0


def test_a_leaf_that_the_coordinator_changed_is_named(register, tmp_path, capsys):
    """A coordinator that serves another leaf than it signed is asked which of them are in its tree."""

    class Changing(Coordinator):
        async def leaves(self, request, caller):
            async for page in super().leaves(request, caller):
                leaves = [leaf if page.start + at != 9 else b"changed" for at, leaf in enumerate(page.leaves)]
                yield replace(page, leaves=tuple(leaves))

    with serving(Changing(register), tmp_path / "live") as profile:
        assert run(["audit", "verify", "--profile", str(profile)]) == 4
        assert "DISCREPANCY at leaf 9: the leaves that are served" in capsys.readouterr().out


def test_pages_that_do_not_follow_are_refused(register, tmp_path, capsys):
    """A coordinator that leaves out a page sends no register."""

    class Skipping(Coordinator):
        async def leaves(self, request, caller):
            async for page in super().leaves(request, caller):
                if page.start != 7:
                    yield page

    with serving(Skipping(register), tmp_path / "live") as profile:
        assert run(["audit", "verify", "--profile", str(profile)]) == 4
        assert "do not follow one another" in capsys.readouterr().err
