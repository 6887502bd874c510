"""What an analyst sees while a query is under way, and of forces that are paused."""

import secrets

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from members import FORCES, Members
from rich.console import Console

from cordon.analyst.federation import verified_federation
from cordon.analyst.progress import INTERRUPTED, Teller, may_leave
from cordon.envelope import KeySigner
from cordon.keyfile import read_signing_key
from cordon.register.leaf import NO_DIGEST, Checkpoint, Decision, DeclineCode, Outcome
from cordon.units import Digest
from cordon.wire.messages import PAUSED, PROTOCOL_VERSION, CatalogueReply, Decided, Hello, Submitted
from cordon.wire.signed import sign

SIGNER = KeySigner(Ed25519PrivateKey.generate())
QUERY = Digest(bytes(range(32)))


def decided(force, outcome):
    """A force has decided."""
    decision = Decision(QUERY, force, 0, outcome, DeclineCode.NOT_DECLINED, NO_DIGEST, 1)
    return Decided(sign(decision, SIGNER), None)


def test_the_line_says_at_how_many_forces_a_person_decides():
    """A force that waits is counted until its officer has decided, and then as what was decided."""
    shown = []
    teller = Teller()
    teller.show = shown.append
    for force in FORCES[:3]:
        teller(decided(force, Outcome.AWAITING_APPROVAL))
    teller(decided(FORCES[3], Outcome.ADMITTED))
    assert shown[-1] == "waiting for approval at 3 forces; 1 force admitted, 0 declined"
    teller(decided(FORCES[0], Outcome.ADMITTED))
    teller(decided(FORCES[1], Outcome.DECLINED))
    assert shown[-1] == "waiting for approval at 1 force; 2 forces admitted, 1 declined"
    teller(decided(FORCES[2], Outcome.ADMITTED))
    assert shown[-1] == "3 forces admitted, 1 declined"


@pytest.mark.parametrize("submitted", [True, False])
def test_whoever_leaves_is_told_how_to_come_back(capsys, submitted):
    """Ctrl-C ends with code 130; once the query is submitted, with the command that follows it."""
    teller = Teller()
    if submitted:
        teller(Submitted(QUERY, 0))
    with pytest.raises(typer.Exit) as left, may_leave(teller, Console(stderr=True)):
        raise KeyboardInterrupt
    assert left.value.exit_code == INTERRUPTED
    assert capsys.readouterr().err == (f"later: cordon follow {QUERY.hex()[:16]}\n" if submitted else "")


def test_a_force_that_says_it_is_paused_shows_as_paused(tmp_path):
    """By its own signed Hello, and by no other force's."""
    members = Members(tmp_path / "federation")
    try:
        keys = {force: KeySigner(read_signing_key(members.members[force].config.signing_key)) for force in FORCES}
        hellos = [hello(members, "essex", keys["essex"], PAUSED), hello(members, "kent", keys["essex"], PAUSED),
                  hello(members, "surrey", keys["surrey"])]  # fmt: skip
        contracts = tuple(payload for _, payload in members.catalogue.values())
        reply = CatalogueReply(members.manifest_envelope, contracts, tuple(hellos))
        found = verified_federation(reply, members.layout.governance_keys)
        assert (found.paused, set(found.holdings)) == ({"essex"}, {"essex", "surrey"})
    finally:
        members.close()


def hello(members, force, signer, *features):
    """What a node says first."""
    return sign(
        Hello(
            force=force, protocol_version=PROTOCOL_VERSION, features=features, contracts=(),
            manifest_version=members.manifest.version, manifest_hash=members.manifest.digest,
            checkpoint=Checkpoint(), ledger_sequence=0, challenge=secrets.token_bytes(32), sent_at=int(members.now),
        ),
        signer,
    )  # fmt: skip
