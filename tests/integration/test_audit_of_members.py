"""An auditor of a real coordinator and real ledgers comes to the same sums as every force."""

from __future__ import annotations

import pytest
from members import InProcess, Members

from coordinator.publish import publish
from cordon.errors import CordonError
from cordon.identity import Identity, Role
from cordon.reading.mirror import Mirror
from cordon.reading.read import Options, Reader
from cordon.reading.remote import CoordinatorSource
from cordon.reading.static import folder_source


@pytest.fixture
def members(tmp_path):
    """Five forces that hold the synthetic persons."""
    made = Members(tmp_path / "federation")
    yield made
    made.close()


def audited(members, mirror):
    """What an auditor at the coordinator comes to."""
    channel = InProcess(members, Identity(Role.AUDITOR, "erin"))
    source = CoordinatorSource(channel, opens_at_once=True)
    return Reader(mirror, source, Options(members.layout.governance_keys, now=int(members.now))).read()


def assert_same_sums(members, mirror):
    """Every domain of every ledger is what the auditor has added up."""
    for force, member in members.members.items():
        for domain in member.ledger.spending.domains:
            (sum_,) = mirror.sql.execute(
                "SELECT sum(rho) FROM receipts WHERE force = ? AND domain = ?", (force, domain)
            ).fetchone()
            assert sum_ == member.ledger.spending.lifetime(domain).nano, (force, domain)


def test_an_auditor_comes_to_every_forces_sums(members, tmp_path):
    """Answered queries, a silent force, a lost contribution, a restart: no discrepancy, sums as in each ledger."""
    mirror = Mirror(tmp_path / "register.sqlite")
    members.ask()
    members.ask(analyst="bob")
    assert audited(members, mirror).discrepancies == ()
    members.silent.add("kent")
    members.ask(attempts=2)
    members.silent.clear()
    members.on_contribution = lambda force, made: None if force == "essex" else made
    members.ask(attempts=2)
    members.on_contribution = lambda _force, made: made
    members.restart_node("norfolk")
    members.keep_links()
    try:
        members.ask()
    except CordonError as error:
        pytest.fail(str(error))
    members.keep_links()
    result = audited(members, mirror)

    assert result.discrepancies == ()
    assert result.readded.equal == result.counts["completed"] == 5
    assert_same_sums(members, mirror)


def test_what_is_published_is_what_an_auditor_sees(members, tmp_path):
    """The published files of the same register verify, and have the same leaves."""
    members.ask()
    members.keep_links()
    size, note = members.coordinator._reading._notary.newest()
    publish(members.store.register, note, tmp_path / "published", now=int(members.now), progress=lambda _: None)
    with Mirror(None) as mirror:
        result = Reader(mirror, folder_source(tmp_path / "published"), Options(members.layout.governance_keys)).read()

    assert result.discrepancies == ()
    assert result.counts["leaves"] == size
