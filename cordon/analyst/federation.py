"""What an analyst knows of a federation: its verified manifest, contracts and connected forces."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cordon.catalogue import Catalogue, listed_contracts
from cordon.contract import Contract
from cordon.errors import Malformed, Refused, Untrusted
from cordon.manifest import Manifest, open_manifest_with
from cordon.query.model import Question
from cordon.query.sql import Versions
from cordon.wire.messages import PAUSED, CatalogueReply, HeldContract, Hello
from cordon.wire.signed import open_signed, peek


@dataclass(frozen=True, slots=True)
class Federation:
    """A verified catalogue."""

    manifest: Manifest
    catalogue: Catalogue
    holdings: dict[str, tuple[HeldContract, ...]]
    """What each force that was connected said that it holds."""
    paused: frozenset[str] = frozenset()
    """Connected forces that said they are paused."""

    @property
    def newest_contracts(self) -> dict[str, Contract]:
        """The newest contract of each data set, by name."""
        newest: dict[str, Contract] = {}
        for (dataset, version), (contract, _) in sorted(self.catalogue.items()):
            if dataset not in newest or newest[dataset].version < version:
                newest[dataset] = contract
        return newest

    @property
    def versions(self) -> Versions:
        """What FROM can name: every version that the manifest lists; a bare name is the one that most forces offer."""
        return Versions.of((contract for contract, _ in self.catalogue.values()), self.most_offered)

    def contract_of(self, question: Question) -> Contract:
        """The contract that a question is asked by.

        Raises:
            Refused: the manifest does not list it, or not any more.
        """
        listed = self.catalogue.get((question.dataset, question.contract_version))
        if listed is None:
            raise Refused(f"the federation does not list {question.dataset} v{question.contract_version} any more")
        return listed[0]

    def holders(self, contract: Contract, among: Collection[str] | None = None) -> list[str]:
        """Connected forces that say they hold exactly this contract, of all or of those in `among`."""
        return [
            force
            for force, held in sorted(self.holdings.items())
            if any(item.digest == contract.digest for item in held) and (among is None or force in among)
        ]

    def most_offered(self, versions: Sequence[Contract], forces: Collection[str]) -> Contract:
        """The version that most of these forces offer, as far as they are connected; of equals the newest."""
        return max(versions, key=lambda version: (len(self.holders(version, forces)), version.version))


def verified_federation(reply: CatalogueReply, governance_keys: Sequence[str]) -> Federation:
    """Verify what the coordinator sent: it may withhold, but cannot add or change.

    Raises:
        Untrusted: the manifest or a contract is not what governance has signed.
    """
    manifest = open_manifest_with(reply.manifest, tuple(governance_keys))
    catalogue = listed_contracts(manifest, reply.contracts)
    holdings: dict[str, tuple[HeldContract, ...]] = {}
    paused: set[str] = set()
    for envelope in reply.hellos:
        try:
            claimed = peek(Hello, envelope)
            hello = open_signed(Hello, envelope, manifest.keyring(claimed.force))
        except (Untrusted, Malformed):
            # What a force holds is only shown; a Hello that does not verify is as good as none.
            continue
        holdings[hello.force] = hello.contracts
        if PAUSED in hello.features:
            paused.add(hello.force)
    return Federation(manifest, catalogue, holdings, frozenset(paused))
