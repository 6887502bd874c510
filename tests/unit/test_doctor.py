"""Each check of `cordon node doctor` of papers and of what is held, over files that are laid out for it."""

from __future__ import annotations

import re
import shutil
import threading
import time
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from doctors import DAY, FORCE, NOW, OTHER, Authority, check, levels, listening, manifest_of, settings_of
from live import tree_digest

from cordon.configfile import read_config
from cordon.identity import Identity, Role
from cordon.keyfile import new_signing_key, write_private_key
from demo.layout import Design, Layout, lay_out
from demo.processes import free_port
from node.config import NodeConfig
from node.joining.background import Background, Deadline
from node.joining.doctor import examine
from node.joining.finding import Finding, Level
from node.joining.holdings import (
    Sources,
    _said_once,
    age_finding,
    budget_findings,
    ledger_findings,
    missing_columns,
    read_mappings,
)
from node.joining.papers import certificate_findings, files_findings, key_findings, manifest_finding
from node.ledgerfile import create_ledger
from node.mapping import Mapping
from node.policy import Policy


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A federation's files, for tests that only look."""
    return lay_out(tmp_path_factory.mktemp("federation"), Design(forces=(FORCE, OTHER, "sussex"), port=free_port()))


@pytest.fixture
def layout(laid_out: Layout, tmp_path: Path) -> Layout:
    """The same, for a test that changes them."""
    shutil.copytree(laid_out.root, tmp_path / "federation")
    return Layout(tmp_path / "federation", laid_out.design, laid_out.governance_keys)


# Papers


def test_files_that_others_can_write_are_named(layout: Layout) -> None:
    """Who may write the policy sets what may be spent: group and others may not."""
    settings = settings_of(layout)
    paths = [layout.node_config(FORCE), settings.policy]
    settings.policy.chmod(0o644)
    check(files_findings(paths), Level.OK, "nobody")
    settings.policy.chmod(0o664)
    check(files_findings(paths), Level.TO_DO, str(settings.policy))
    assert files_findings(paths).remedy == f"chmod go-w {settings.policy}"


def test_a_force_that_the_manifest_does_not_list_is_told_so(laid_out: Layout) -> None:
    """A manifest may be signed and whole, and still be from before this force joined."""
    check(manifest_finding(manifest_of(laid_out), FORCE), Level.OK, "version 1, signed, 3 forces")
    check(manifest_finding(manifest_of(laid_out), "kent"), Level.TO_DO, "kent is not among them")


def test_a_key_that_is_not_the_manifests_is_to_be_put_right(layout: Layout) -> None:
    """Each of both keys is compared with its own entry."""
    settings, manifest = settings_of(layout), manifest_of(layout)
    assert set(levels(key_findings(settings, manifest)).values()) == {Level.OK}
    settings.signing_key.unlink()
    new_signing_key(settings.signing_key)
    signing, seal = key_findings(settings, manifest)
    check(signing, Level.TO_DO, "not the key that the manifest lists")
    check(seal, Level.OK, "the one that the manifest lists")


def test_a_key_that_others_can_read_is_to_be_closed(layout: Layout) -> None:
    """The remedy is the command."""
    settings = settings_of(layout)
    settings.seal_key.chmod(0o640)
    _, seal = key_findings(settings, None)
    check(seal, Level.TO_DO, "can be read by others")
    assert seal.remedy == f"chmod 600 {settings.seal_key}"


def certificate_of(settings: NodeConfig, now: int = NOW) -> Finding:
    """What is found of our own certificate."""
    return certificate_findings(settings, None, now)[1]


def test_a_certificate_is_told_by_issuer_party_key_and_time(layout: Layout) -> None:
    """What is wrong with a certificate is named: another authority, force or key, not yet, soon over, or over."""
    settings = settings_of(layout)
    folder, authority = settings.tls.key.parent, Authority()
    authority.write(settings.tls.authority)
    check(certificate_of(settings), Level.TO_DO, "not by the authority")
    authority.issue(folder, Identity(Role.FORCE, OTHER))
    check(certificate_of(settings), Level.TO_DO, f"is for cordon://force/{OTHER}, not for cordon://force/{FORCE}")
    authority.issue(folder, Identity(Role.FORCE, FORCE))
    check(certificate_of(settings), Level.OK, "by the authority, for this force and key")
    check(certificate_of(settings, NOW - DAY), Level.TO_DO, "holds only from")
    check(certificate_of(settings, NOW + 800 * DAY), Level.WARNING, "it ends on")
    check(certificate_of(settings, NOW + 900 * DAY), Level.TO_DO, "it ended on")
    settings.tls.key.unlink()
    write_private_key(settings.tls.key, ec.generate_private_key(ec.SECP256R1()))
    check(certificate_of(settings), Level.TO_DO, "for another key")
    settings.tls.certificate.unlink()
    check(certificate_of(settings), Level.TO_DO, "cannot read the certificate")


def test_a_signing_key_is_no_key_for_tls(layout: Layout) -> None:
    """The two are easily mixed up."""
    settings = settings_of(layout)
    settings.tls.key.unlink()
    write_private_key(settings.tls.key, Ed25519PrivateKey.generate())
    check(certificate_of(settings), Level.TO_DO, "for another key")


def test_the_authority_is_compared_with_the_manifests(layout: Layout) -> None:
    """An authority that governance has not signed would let a stranger be the coordinator."""
    settings, manifest = settings_of(layout), manifest_of(layout)
    check(certificate_findings(settings, manifest, NOW)[0], Level.OK, "as the manifest names it")
    Authority().write(settings.tls.authority)
    check(certificate_findings(settings, manifest, NOW)[0], Level.TO_DO, "not the authority that the manifest names")


# What is held


def test_a_ledger_is_there_ours_and_whole(layout: Layout) -> None:
    """None, a whole one, another force's, and a damaged one are told apart."""
    settings, manifest = settings_of(layout), manifest_of(layout)
    check(ledger_findings(settings, manifest)[0], Level.TO_DO, "there is none")
    create_ledger(settings.ledger, force=FORCE, now=NOW)
    check(ledger_findings(settings, manifest)[0], Level.OK, "whole, of this force, 0 receipts")
    other = settings_of(layout, OTHER)
    shutil.copy(settings.ledger, other.ledger)
    check(ledger_findings(other, manifest)[0], Level.TO_DO, f"the ledger of {FORCE}, not of {OTHER}")
    settings.ledger.write_bytes(settings.ledger.read_bytes()[:5000])
    (damaged,) = ledger_findings(settings, manifest)
    assert damaged.level is Level.TO_DO
    assert "2.9" in damaged.remedy


@pytest.mark.parametrize(
    ("age", "limits", "level"),
    [
        (400, [], Level.OK),
        (30, [45, 100], Level.OK),
        (44, [45, 100], Level.WARNING),
        (46, [100, 45], Level.TO_DO),
    ],
)
def test_a_snapshots_age_is_held_against_the_shorter_limit(age: int, limits: list[int], level: Level) -> None:
    """The mapping's and the policy's limit both hold."""
    today = date(2026, 11, 28)
    as_at = date.fromordinal(today.toordinal() - age)
    found = age_finding("snapshot", as_at, today, limits, "cordon node load")
    assert found.level is level
    assert level is Level.OK or found.remedy.endswith("cordon node load")


def test_mappings_are_read_and_held_against_the_manifest(layout: Layout) -> None:
    """A mapping that cannot be read, or whose contract is not listed, is named by its file."""
    settings = settings_of(layout)
    path = settings.mappings[0]
    path.write_text(path.read_text() + "\nmisspelt = 1\n")
    read, findings = read_mappings(settings, {})
    assert (read, len(findings)) == ([], len(settings.mappings))
    assert "misspelt" in findings[0].words
    assert "the manifest does not list" in findings[1].words
    assert all(str(p) in f.sentence for p, f in zip(settings.mappings, findings, strict=True))


def test_a_domain_without_a_budget_is_said(laid_out: Layout) -> None:
    """It is never answered from, and nothing else would say why."""
    mapping = read_config(settings_of(laid_out).mappings[0], Mapping)
    policy = Policy.model_validate({"budget": {"other": {"epsilon_per_year": "1", "epsilon_lifetime": "1"}}})
    (found,) = budget_findings([mapping], policy, Path("policy.toml"))
    check(found, Level.TO_DO, mapping.domain)
    assert found.remedy == f"add [budget.{mapping.domain}] to policy.toml"


def test_columns_that_the_source_lacks_are_found_by_name(laid_out: Layout) -> None:
    """A column that vanished from the extract is named before a load fails on it."""
    mapping = read_config(settings_of(laid_out).mappings[0], Mapping)
    named = {column.source for column in mapping.columns.values() if column.source}
    assert missing_columns(mapping, dict.fromkeys(named, "VARCHAR")) == set()
    gone = min(named)
    assert missing_columns(mapping, dict.fromkeys(named - {gone}, "VARCHAR")) == {gone}


def source_finding(layout: Layout, tmp_path: Path, text: str, seconds: float = 20.0) -> Finding:
    """What is found of the source of a mapping, which is given as TOML."""
    path = settings_of(layout).mappings[0]
    path.write_text(re.sub(r"^source = .*$", lambda _: text, path.read_text(), count=1, flags=re.MULTILINE))
    (found,) = Sources([read_config(path, Mapping)], tmp_path).findings(Deadline(seconds))
    return found


def test_a_source_is_opened_and_held_against_the_mappings_columns(layout: Layout, tmp_path: Path) -> None:
    """A source that is gone, one that lacks a column, and a whole one; of records nothing is looked at."""
    named = {c.source for c in read_config(settings_of(layout).mappings[0], Mapping).columns.values() if c.source}
    check(source_finding(layout, tmp_path, f'source = "{tmp_path}/none.csv"'), Level.TO_DO, "none.csv")
    records = tmp_path / "records.csv"
    records.write_text(",".join(sorted(named)[1:]) + "\n" + "secret," * 3 + "\n")
    lacking = source_finding(layout, tmp_path, f'source = "{records}"')
    check(lacking, Level.TO_DO, f"has no column {min(named)!r}, and none of its ")
    assert "secret" not in lacking.sentence
    records.write_text(",".join([min(named).lower(), *sorted(named)[1:]]) + "\n")
    lacking = source_finding(layout, tmp_path, f'source = "{records}"')
    check(lacking, Level.TO_DO, f"has no column {min(named)!r}, and the nearest name there is {min(named).lower()!r}")
    records.write_text("N. Clerk,M,34\nA. Other,F,35\n")
    bare = source_finding(layout, tmp_path, f'source = "{records}"')
    check(bare, Level.TO_DO, "its first line does not look like a header")
    assert "Clerk" not in bare.sentence
    records.write_text(",".join(named))
    cut = source_finding(layout, tmp_path, f'source = "{records}"')
    check(cut, Level.WARNING, "it may be cut off")
    assert cut.sentence.count(str(records)) == 1
    assert "account" not in cut.remedy
    records.write_text(",".join(named) + "\n")
    check(source_finding(layout, tmp_path, f'source = "{records}"'), Level.OK, "opens")


def test_what_a_source_warns_of_is_said_once() -> None:
    """Its name stands once before its warnings, and the remedy alone says what to ask for."""
    words = "postgresql://reader@db.example.org/x (nominals)"
    assert _said_once(words, (f"{words}: the account can write; ask for one that can only read",)) == (
        f"{words}: the account can write"
    )


def test_a_source_that_does_not_answer_holds_nothing_up(layout: Layout, tmp_path: Path) -> None:
    """A database that takes the connection and says nothing is a warning, when the time is over."""
    path = settings_of(layout).mappings[0]
    with listening(lambda opened: time.sleep(0.8)) as address:
        text = re.sub(r"^source = .*\n", "", path.read_text(), count=1, flags=re.MULTILINE)
        server = f'[source]\nkind = "postgresql"\nurl = "postgresql://reader@{address}/records"\ntable = "stops"\n\n'
        path.write_text(text.replace("[columns]", f"{server}[columns]"))
        started = time.monotonic()
        (found,) = Sources([read_config(path, Mapping)], tmp_path).findings(Deadline(0.3))
        assert time.monotonic() - started < 3
    check(found, Level.WARNING, "did not open in time")


# The whole


def test_a_configuration_that_cannot_be_read_is_the_only_finding(tmp_path: Path) -> None:
    """Without it nothing else can be looked at."""
    (found,) = examine(tmp_path / "node.toml", now=time.time)
    check(found, Level.TO_DO, "cannot read")
    assert "cordon node init" in found.remedy
    assert "--config" in found.remedy
    (tmp_path / "node.toml").write_text("forse = 1\n")
    (found,) = examine(tmp_path / "node.toml", now=time.time)
    check(found, Level.TO_DO, "there is no key forse; did you mean force?")
    assert "cordon node init" not in found.remedy


def test_the_doctor_changes_nothing_and_repeats_no_secret(layout: Layout) -> None:
    """Every file is as it was, and no finding holds a line of a private key."""
    before = tree_digest(layout.root)
    findings = examine(layout.node_config(FORCE), now=time.time)
    assert tree_digest(layout.root) == before
    secrets = [line for path in layout.root.rglob("*.key") for line in path.read_text().splitlines() if "-" not in line]
    assert secrets
    assert not [line for line in secrets if any(line in finding.sentence for finding in findings)]
    assert levels(findings)["connection"] is Level.TO_DO


@pytest.mark.slow
@pytest.mark.parametrize("where", ["coordinator", "proxy"])
def test_the_doctor_ends_in_time_when_nobody_answers(layout: Layout, where: str) -> None:
    """With a peer that takes connections and says nothing, all is over within 15 seconds.

    It takes as long as the doctor is willing to wait.
    """
    path = layout.node_config(FORCE)
    with listening(lambda opened: time.sleep(60)) as address:
        text = re.sub(r'coordinator = ".*"', f'coordinator = "{address}"', path.read_text())
        path.write_text(text if where == "coordinator" else f'proxy = "http://{address}"\n{text}')
        started = time.monotonic()
        findings = examine(path, now=time.time)
        assert time.monotonic() - started < 15
    check({found.name: found for found in findings}["connection"], Level.TO_DO, "answer")


def test_work_that_hangs_is_left_alone() -> None:
    """Nobody waits longer than the deadline, and an error comes back as it was."""
    held = threading.Event()
    hanging = Background(held.wait)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        hanging.result(0.1)
    assert time.monotonic() - started < 2
    held.set()
    with pytest.raises(KeyError):
        Background(lambda: {}["x"]).result(5)
